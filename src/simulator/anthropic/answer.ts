import type { Answer } from "../answer.ts";
import type { Call } from "../call.ts";
import type { AnswerIdentity, StreamTexts } from "../dialect.ts";
import { tokenTexts } from "../token-count.ts";

const STOP_REASONS = { stop: "end_turn", length: "max_tokens", tool_call: "tool_use" };

/** A `message` body. */
export function answerBody(call: Call, answer: Answer, identity: AnswerIdentity): object {
  return {
    ...headOf(call, identity),
    content: [blockOf(answer)],
    stop_reason: STOP_REASONS[answer.finish],
    usage: usageOf(call, answer.completionTokens),
  };
}

/** The events from `message_start` to `message_stop`. */
export function streamTexts(call: Call, answer: Answer, identity: AnswerIdentity): StreamTexts {
  const { toolCall, text } = answer;
  const message = { ...headOf(call, identity), content: [], usage: usageOf(call, 1) };
  const empty = toolCall ? { ...blockOf(answer), input: {} } : { type: "text", text: "" };
  const pieces = tokenTexts(toolCall ? JSON.stringify(toolCall.arguments) : text);
  return {
    content: [
      sse({ type: "message_start", message }),
      sse({ type: "content_block_start", index: 0, content_block: empty }),
      sse({ type: "ping" }),
      ...pieces.map((piece) =>
        sse({ type: "content_block_delta", index: 0, delta: deltaOf(toolCall, piece) }),
      ),
    ],
    closing: [
      sse({ type: "content_block_stop", index: 0 }),
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

function blockOf({ toolCall, text }: Answer) {
  if (!toolCall) return { type: "text", text };
  return { type: "tool_use", id: `toolu_${toolCall.id}`, name: toolCall.name, input: toolCall.arguments };
}

function deltaOf(toolCall: Answer["toolCall"], piece: string) {
  return toolCall ? { type: "input_json_delta", partial_json: piece } : { type: "text_delta", text: piece };
}

function usageOf({ promptTokens }: Call, outputTokens: number) {
  return {
    input_tokens: promptTokens,
    output_tokens: outputTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    service_tier: "standard",
  };
}

function sse(data: { type: string; [field: string]: unknown }): string {
  return `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
}
