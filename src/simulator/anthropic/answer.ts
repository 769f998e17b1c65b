import { isObject, parseJson } from "../../shared/json.ts";
import type { SimulatedAnswer, ToolCall } from "../answer.ts";
import type { Call } from "../call.ts";
import type { AnswerIdentity, StreamTexts } from "../dialect.ts";
import { tokenTexts } from "../token-count.ts";

const STOP_REASONS = {
  stop: "end_turn",
  length: "max_tokens",
  tool_call: "tool_use",
  content_filter: "refusal",
};

/** Returns a `message` body. */
export function answerBody(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): object {
  return {
    ...headOf(call, identity),
    content: blocksOf(answer),
    stop_reason: STOP_REASONS[answer.finish],
    usage: usageOf(call, answer.completionTokens),
  };
}

/** Returns the events from `message_start` to `message_stop`. */
export function streamTexts(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): StreamTexts {
  const message = { ...headOf(call, identity), content: [], usage: usageOf(call, 1) };
  const start = [sse({ type: "message_start", message }), sse({ type: "ping" })];
  const events = blocksOf(answer).flatMap(blockEvents);
  return {
    content: [...start, ...events.slice(0, -1)],
    closing: [
      ...events.slice(-1),
      sse({
        type: "message_delta",
        delta: { stop_reason: STOP_REASONS[answer.finish], stop_sequence: null },
        usage: usageOf(call, answer.completionTokens),
      }),
      sse({ type: "message_stop" }),
    ],
  };
}

function headOf(call: Call, { requestId }: AnswerIdentity) {
  return {
    id: `msg_${requestId}`,
    type: "message",
    role: "assistant",
    model: call.model,
    stop_reason: null as string | null,
    stop_sequence: null,
  };
}

type Block = { type: "text"; text: string } | { type: "tool_use"; id: string; name: string; input: object };

function blocksOf({ toolCalls, text }: SimulatedAnswer): Block[] {
  const isTextless = text === "" && toolCalls.length > 0;
  return [...(isTextless ? [] : [{ type: "text" as const, text }]), ...toolCalls.map(toolUseOf)];
}

function toolUseOf({ id, ownId, name, argumentsText }: ToolCall): Block {
  return { type: "tool_use", id: ownId ?? `toolu_${id}`, name, input: objectOf(argumentsText) };
}

/** Returns a JSON object; `{}` for any other text, since the dialect has no way to say it. */
function objectOf(json: string): object {
  const value = parseJson(json);
  return isObject(value) ? value : {};
}

function blockEvents(block: Block, index: number): string[] {
  const isText = block.type === "text";
  const empty = isText ? { ...block, text: "" } : { ...block, input: {} };
  const deltas = isText
    ? tokenTexts(block.text).map((text) => ({ type: "text_delta", text }))
    : tokenTexts(JSON.stringify(block.input)).map((json) => ({
        type: "input_json_delta",
        partial_json: json,
      }));
  return [
    sse({ type: "content_block_start", index, content_block: empty }),
    ...deltas.map((delta) => sse({ type: "content_block_delta", index, delta })),
    sse({ type: "content_block_stop", index }),
  ];
}

function usageOf({ promptTokens, cachedTokens = 0 }: Call, outputTokens: number) {
  return {
    input_tokens: promptTokens - cachedTokens,
    output_tokens: outputTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    service_tier: "standard",
  };
}

function sse(data: { type: string; [field: string]: unknown }): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}
