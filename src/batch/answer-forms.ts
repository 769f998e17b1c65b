import { type ChatCompletion, EMBEDDINGS } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { fieldsOf, isObject } from "../shared/json.ts";
import { readTokenUse } from "../shared/token-use.ts";
import { textToVector } from "../shared/vector-text.ts";

/** Which of OpenAI's endpoints a row is for: its answer has the form of that one. */
export type Endpoint = "chat" | "embeddings" | "responses";

/** Returns the body of an answer as the row's endpoint has it. */
export function bodyOf(body: ChatCompletion, endpoint: Endpoint): Record<string, unknown> {
  if (body.object === EMBEDDINGS) return embeddingsBody(body);
  // Of a server that was asked by Responses it is the provider's own.
  const { response } = body;
  if (endpoint === "responses") return isObject(response) ? response : responseBody(body);
  return body;
}

function embeddingsBody({ model, choices, usage, encoding_format }: ChatCompletion): Record<string, unknown> {
  const data = choices.map(({ message }, index) => {
    const text = message.content ?? "";
    const embedding = encoding_format === "base64" ? text : textToVector(text).map(shortest);
    return { object: "embedding", index, embedding };
  });
  const { prompt } = readTokenUse(usage);
  return { object: "list", data, model, usage: { prompt_tokens: prompt, total_tokens: prompt } };
}

/** The shortest number that is the same 32-bit float: `0.1`, not `0.10000000149011612`. */
function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return Number(value.toPrecision(9));
}

interface AnswerMessage {
  content?: string | null;
  refusal?: string | null;
  thinking_blocks?: unknown[];
  content_parts?: unknown[];
  tool_calls?: { id?: string; function?: { name?: string; arguments?: string } }[] | null;
}

function firstOf(body: ChatCompletion): { message: AnswerMessage; reason: string; native: unknown } {
  const [choice] = body.choices;
  return {
    message: (choice?.message ?? {}) as AnswerMessage,
    reason: choice?.finish_reason ?? "stop",
    native: (choice as { native_finish_reason?: unknown } | undefined)?.native_finish_reason,
  };
}

function responseBody(body: ChatCompletion): Record<string, unknown> {
  const { message, reason } = firstOf(body);
  const { prompt, completion, total, cached } = readTokenUse(body.usage);
  const content = [
    ...(message.content ? [{ type: "output_text", text: message.content, annotations: [] }] : []),
    ...(message.refusal ? [{ type: "refusal", refusal: message.refusal }] : []),
  ];
  const calls = (message.tool_calls ?? []).map(({ id, function: called }) => ({
    type: "function_call",
    id: `fc_${id}`,
    call_id: id,
    name: called?.name,
    arguments: called?.arguments,
    status: "completed",
  }));
  const said = { type: "message", id: `msg_${body.id}`, role: "assistant", status: "completed", content };
  const cut = { length: "max_output_tokens", content_filter: "content_filter" }[reason];
  return {
    id: body.id,
    object: "response",
    created_at: body.created,
    model: body.model,
    status: cut ? "incomplete" : "completed",
    incomplete_details: cut ? { reason: cut } : null,
    error: null,
    output: [...(content.length > 0 ? [said] : []), ...calls],
    usage: {
      input_tokens: prompt,
      input_tokens_details: { cached_tokens: cached },
      output_tokens: completion,
      total_tokens: total,
    },
  };
}

/** Whose lines the output has. */
export type OutputFormat = "openai" | "anthropic" | "gemini";
export const OUTPUT_FORMATS: readonly OutputFormat[] = ["openai", "anthropic", "gemini"];

/** Returns whose form an output line has. */
export function formatOf(fields: Record<string, unknown>): OutputFormat {
  if ("result" in fields) return "anthropic";
  return "key" in fields ? "gemini" : "openai";
}

/**
 * Returns an output line in a vendor's form, with our `id` before it: a later run knows its row by that. Answers that are no
 * chat completions (embeddings, responses) stay as they are, and so does a line that has the form already.
 */
export function inFormat(text: string, format: OutputFormat): string {
  const fields = fieldsOf(parseExactly(text));
  if (format === "openai" || formatOf(fields) !== "openai") return text;
  const { id, custom_id, response, error, from_cache, lane } = fields;
  const body = fieldsOf(fieldsOf(response).body);
  if (error === null && body.object !== "chat.completion") return text;
  const answer = body as unknown as ChatCompletion;
  const fault = fieldsOf(error);
  const more = { ...(from_cache !== undefined && { from_cache }), ...(lane !== undefined && { lane }) };
  if (format === "anthropic") {
    const { code, message, ...rest } = fault;
    const errored = { type: "errored", error: { type: "error", error: { type: code, message, ...rest } } };
    const result = error === null ? { type: "succeeded", message: messageBody(answer) } : errored;
    return JSON.stringify({ id, custom_id, result, ...more });
  }
  const { status_code: status = 400 } = fieldsOf(response);
  const { code, ...rest } = fault;
  return JSON.stringify({
    id,
    key: custom_id,
    ...(error === null
      ? { response: candidatesBody(answer) }
      : { error: { code: status, status: code, ...rest } }),
    ...more,
  });
}

/** Arguments keep their digits; a text that is no JSON has no other place than one of its own. */
function toArguments(text = ""): unknown {
  try {
    return text === "" ? {} : parseExactly(text);
  } catch {
    return { text };
  }
}

const STOP_REASONS: Record<string, string> = {
  length: "max_tokens",
  tool_calls: "tool_use",
  content_filter: "refusal",
};

/** All blocks of an answer in which Anthropic ran tools of its own. */
function serverBlocks({ content_parts: parts }: AnswerMessage): unknown[] | undefined {
  return parts?.some((part) => /_tool_(use|result)$/.test(String(fieldsOf(part).type))) ? parts : undefined;
}

/** Returns an answer as Anthropic's `message`: its own where it was asked in Anthropic's words. */
export function messageBody(body: ChatCompletion): Record<string, unknown> {
  const own = Object.entries(fieldsOf(body.message)).filter(([, value]) => value != null);
  return { ...translatedMessage(body), ...Object.fromEntries(own) };
}

function translatedMessage(body: ChatCompletion): Record<string, unknown> {
  const { message, reason, native } = firstOf(body);
  const { prompt, completion, cached, cacheWritten = 0 } = readTokenUse(body.usage);
  const calls = (message.tool_calls ?? []).map(({ id, function: called }) => ({
    type: "tool_use",
    id,
    name: called?.name,
    input: toArguments(called?.arguments),
  }));
  const text = message.content ?? message.refusal;
  const thinking = message.thinking_blocks ?? [];
  return {
    id: body.id,
    type: "message",
    role: "assistant",
    model: body.model,
    // What Anthropic's own tools brought has its place among the texts.
    content: serverBlocks(message) ?? [...thinking, ...(text ? [{ type: "text", text }] : []), ...calls],
    stop_reason: native === "pause_turn" ? native : (STOP_REASONS[reason] ?? "end_turn"),
    stop_sequence: null,
    usage: {
      input_tokens: prompt - cached - cacheWritten,
      cache_read_input_tokens: cached,
      cache_creation_input_tokens: cacheWritten,
      output_tokens: completion,
    },
  };
}

const FINISH_REASONS: Record<string, string> = { length: "MAX_TOKENS", content_filter: "SAFETY" };

function candidatesBody(body: ChatCompletion): Record<string, unknown> {
  const { prompt, completion, total, cached } = readTokenUse(body.usage);
  const candidates = body.choices.map((choice, index) => {
    const message = choice.message as AnswerMessage;
    const calls = (message.tool_calls ?? []).map(({ function: called }) => ({
      functionCall: { name: called?.name, args: toArguments(called?.arguments) },
    }));
    const parts = [...(message.content ? [{ text: message.content }] : []), ...calls];
    const finishReason = FINISH_REASONS[choice.finish_reason ?? ""] ?? "STOP";
    return { index, content: { role: "model", parts }, finishReason };
  });
  const usageMetadata = {
    promptTokenCount: prompt,
    candidatesTokenCount: completion,
    totalTokenCount: total,
    ...(cached > 0 && { cachedContentTokenCount: cached }),
  };
  return { candidates, usageMetadata, modelVersion: body.model, responseId: body.id };
}
