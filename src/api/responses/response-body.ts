import { bodyOf } from "../../batch/answer-forms.ts";
import type { CompletionResult } from "../../calls/completion-result.ts";
import { fieldsOf, isObject } from "../../shared/json.ts";

export type Fields = Record<string, unknown>;

/** What a response says beside its answer. */
export interface ResponseHead {
  id: string;
  createdAtMs: number;
  background: boolean;
  previous: string | undefined;
  /** Parameters of the request, said again. */
  echo: Fields;
}

/** The parameters that a response says again, with what holds when the request does not name them. */
const ECHOED: Fields = {
  instructions: null,
  max_output_tokens: null,
  max_tool_calls: null,
  metadata: {},
  model: "",
  parallel_tool_calls: true,
  reasoning: { effort: null, summary: null },
  service_tier: "default",
  store: true,
  temperature: 1,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: [],
  top_logprobs: 0,
  top_p: 1,
  truncation: "disabled",
  user: null,
};
const PREFIXES: Readonly<Record<string, string>> = {
  message: "msg",
  function_call: "fc",
  custom_tool_call: "ctc",
  reasoning: "rs",
};
const NO_USAGE = { prompt: 0, completion: 0, total: 0, cached: 0 };

/** Returns what of a request its response says again. */
export function echoOf(body: Fields): Fields {
  const given = Object.keys(ECHOED).flatMap((name) => (body[name] == null ? [] : [[name, body[name]]]));
  return Object.fromEntries(given) as Fields;
}

/** Returns the id of the n-th item of a kind in a response. The answer's first message and each call can be told by it alone. */
export function itemId(responseId: string, type: string, n: number): string {
  const prefix = PREFIXES[type] ?? "item";
  return `${prefix}_${responseId.slice("resp_".length)}${n === 0 ? "" : `_${n}`}`;
}

/** Returns the response that an item of an answer belongs to; undefined when the id is none of ours. */
export function responseOfItem(id: string): string | undefined {
  const uuid = /^(?:msg|fc|ctc|rs)_([0-9a-f-]{36})(?:_\d+)?$/.exec(id)?.[1];
  return uuid && `resp_${uuid}`;
}

/** Returns a response that has no answer yet, or never will. */
export function unanswered(
  { id, createdAtMs, background, previous, echo }: ResponseHead,
  status: string,
  error: { code: string; message: string } | null = null,
): Fields {
  return {
    id,
    object: "response",
    created_at: Math.floor(createdAtMs / 1000),
    status,
    background,
    error,
    incomplete_details: null,
    previous_response_id: previous ?? null,
    ...ECHOED,
    ...echo,
    output: [],
    usage: null,
  };
}

/** Returns the response of a finished job. */
export function answered(head: ResponseHead, result: CompletionResult): Fields {
  const own = bodyOf(result.rawResponse, "responses");
  const { status = "completed", incomplete_details = null, model } = own;
  return {
    ...unanswered(head, String(status)),
    incomplete_details,
    ...(typeof model === "string" && { model }),
    output: outputOf(head.id, own, result),
    usage: usageOf(result),
  };
}

/** The items of an answer, under ids of our own: the provider stores none of them. */
function outputOf(responseId: string, own: Fields, { reasoning, rawResponse }: CompletionResult): Fields[] {
  const items = Array.isArray(own.output) ? own.output.filter(isObject) : [];
  const thought =
    reasoning && !isObject(rawResponse.response)
      ? [{ type: "reasoning", summary: [{ type: "summary_text", text: reasoning }] }]
      : [];
  const counts: Record<string, number> = {};
  return [...thought, ...items].map((item) => {
    const type = String(item.type);
    const n = counts[type] ?? 0;
    counts[type] = n + 1;
    return { ...withParts(item), id: itemId(responseId, type, n) };
  });
}

/** Clients read lists where some servers write none. */
function withParts(item: Fields): Fields {
  if (item.type !== "message" || !Array.isArray(item.content)) return item;
  const content = item.content.map((part) =>
    fieldsOf(part).type === "output_text" ? { annotations: [], logprobs: [], ...fieldsOf(part) } : part,
  );
  return { ...item, content };
}

function usageOf({ tokensUsed = NO_USAGE, rawResponse }: CompletionResult): Fields {
  const { prompt, completion, cached, total } = tokensUsed;
  const written = "cacheWritten" in tokensUsed ? (tokensUsed.cacheWritten ?? 0) : 0;
  const details = fieldsOf(fieldsOf(rawResponse.usage).completion_tokens_details);
  const reasoning = typeof details.reasoning_tokens === "number" ? details.reasoning_tokens : 0;
  return {
    input_tokens: prompt,
    input_tokens_details: { cached_tokens: cached, cache_write_tokens: written },
    output_tokens: completion,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: total,
  };
}
