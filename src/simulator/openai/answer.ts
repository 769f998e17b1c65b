import type { SimulatedAnswer, ToolCall } from "../answer.ts";
import type { Call } from "../call.ts";
import type { AnswerIdentity, StreamTexts } from "../dialect.ts";
import { tokenTexts } from "../token-count.ts";

const FINGERPRINT = "gluellm-simulator";

/** Returns a `chat.completion` body. */
export function answerBody(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): object {
  const { text, toolCalls } = answer;
  const message = {
    role: "assistant",
    content: toolCalls.length > 0 && text === "" ? null : text,
    refusal: null,
    ...(toolCalls.length > 0 && { tool_calls: toolCalls.map(toolCallOf) }),
  };
  return {
    ...headOf(call, identity, "chat.completion"),
    choices: Array.from({ length: call.choices }, (_, index) => ({
      index,
      message,
      logprobs: null,
      finish_reason: finishReason(answer),
    })),
    usage: usageOf(call, answer),
  };
}

/** Returns the `chat.completion.chunk` events of a streamed answer. */
export function streamTexts(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): StreamTexts {
  const head = headOf(call, identity, "chat.completion.chunk");
  const usage = call.includeUsage ? { usage: null } : {};
  const event = (delta: object, finish: string | null = null) =>
    Array.from({ length: call.choices }, (_, index) =>
      sse({ ...head, choices: [{ index, delta, logprobs: null, finish_reason: finish }], ...usage }),
    );
  const closing = event({}, finishReason(answer));
  if (call.includeUsage) closing.push(sse({ ...head, choices: [], usage: usageOf(call, answer) }));
  closing.push("data: [DONE]\n\n");
  return { content: deltasOf(answer).flatMap((delta) => event(delta)), closing };
}

function deltasOf({ text, toolCalls }: SimulatedAnswer): object[] {
  const content = toolCalls.length > 0 && text === "" ? null : "";
  return [
    { role: "assistant", content, refusal: null },
    ...tokenTexts(text).map((piece) => ({ content: piece })),
    ...toolCalls.flatMap(toolCallDeltas).map((delta) => ({ tool_calls: [delta] })),
  ];
}

function toolCallDeltas(toolCall: ToolCall, index: number): object[] {
  const { function: called, ...call } = toolCallOf(toolCall);
  const pieces = tokenTexts(called.arguments);
  return [
    { index, ...call, function: { name: called.name, arguments: "" } },
    ...pieces.map((piece) => ({ index, function: { arguments: piece } })),
  ];
}

function toolCallOf({ id, ownId, name, argumentsText }: ToolCall) {
  return { id: ownId ?? `call_${id}`, type: "function", function: { name, arguments: argumentsText } };
}

function headOf(call: Call, { requestId, createdAt }: AnswerIdentity, object: string) {
  return {
    id: `chatcmpl-${requestId}`,
    object,
    created: createdAt,
    model: call.model,
    service_tier: call.isFlex ? "flex" : "default",
    system_fingerprint: FINGERPRINT,
  };
}

function usageOf({ promptTokens, cachedTokens = 0 }: Call, { completionTokens }: SimulatedAnswer) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
  };
}

function finishReason({ finish }: SimulatedAnswer): string {
  return finish === "tool_call" ? "tool_calls" : finish;
}

function sse(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
