import type { SimulatedAnswer, ToolCall } from "../answer.ts";
import type { Call } from "../call.ts";
import type { AnswerIdentity, Dialect, StreamTexts } from "../dialect.ts";
import { tokenTexts } from "../token-count.ts";
import { openaiDialect } from "./dialect.ts";
import { readResponsesCall } from "./responses-request.ts";

/** The dialect OpenAI Responses. */
export const openaiResponsesDialect: Dialect = {
  ...openaiDialect,
  readCall: readResponsesCall,
  answerBody: (call, answer, identity) => ({
    ...headOf(call, identity),
    ...endOf(answer),
    output: itemsOf(answer, identity),
    usage: usageOf(call, answer),
  }),
  streamTexts,
  errorEvent: (body) => {
    const { message, type, param, code } = (body as { error: Record<string, string | null> }).error;
    return sse({ type: "error", code: code ?? type, message, param });
  },
};

type Event = { type: string; [field: string]: unknown };
type Item = Event & { id: string; status: string };

/** Returns all events that OpenAI sends, each with its number. */
function streamTexts(call: Call, answer: SimulatedAnswer, identity: AnswerIdentity): StreamTexts {
  const head = headOf(call, identity);
  const begun = { ...head, status: "in_progress", output: [], usage: null };
  const items = itemsOf(answer, identity);
  const events: Event[] = [
    { type: "response.created", response: begun },
    { type: "response.in_progress", response: begun },
    ...items.flatMap((item, at) => itemEvents(item, at, answer)),
    {
      type: `response.${endOf(answer).status}`,
      response: { ...head, ...endOf(answer), output: items, usage: usageOf(call, answer) },
    },
  ];
  const texts = events.map((event, number) => sse({ ...event, sequence_number: number }));
  return { content: texts.slice(0, -1), closing: texts.slice(-1) };
}

function itemEvents(item: Item, at: number, answer: SimulatedAnswer): Event[] {
  const place = { item_id: item.id, output_index: at };
  const whole = { type: "response.output_item.done", output_index: at, item };
  if (item.type === "function_call") {
    const args = String(item.arguments);
    return [
      opened(at, { ...item, arguments: "", status: "in_progress" }),
      ...tokenTexts(args).map((delta) => ({
        type: "response.function_call_arguments.delta",
        ...place,
        delta,
      })),
      { type: "response.function_call_arguments.done", ...place, arguments: args, name: item.name },
      whole,
    ];
  }
  const part = { ...place, content_index: 0 };
  return [
    opened(at, { ...item, content: [], status: "in_progress" }),
    { type: "response.content_part.added", ...part, part: textPart("") },
    ...tokenTexts(answer.text).map((delta) => ({
      type: "response.output_text.delta",
      ...part,
      delta,
      logprobs: [],
    })),
    { type: "response.output_text.done", ...part, text: answer.text, logprobs: [] },
    { type: "response.content_part.done", ...part, part: textPart(answer.text) },
    whole,
  ];
}

function opened(at: number, item: Item): Event {
  return { type: "response.output_item.added", output_index: at, item };
}

function headOf({ model, isFlex }: Call, { requestId, createdAt }: AnswerIdentity) {
  const service_tier = isFlex ? "flex" : "default";
  return {
    id: `resp_${requestId}`,
    object: "response",
    created_at: createdAt,
    model,
    service_tier,
    error: null,
  };
}

function endOf({ finish }: SimulatedAnswer) {
  const reason = { length: "max_output_tokens", content_filter: "content_filter" }[finish as string];
  return {
    status: reason ? "incomplete" : "completed",
    incomplete_details: reason ? { reason } : null,
  };
}

function itemsOf(answer: SimulatedAnswer, { requestId }: AnswerIdentity): Item[] {
  const { text, toolCalls, finish } = answer;
  const status = finish === "length" ? "incomplete" : "completed";
  const message = { id: `msg_${requestId}`, type: "message", role: "assistant", status };
  const hasText = text !== "" || toolCalls.length === 0;
  return [...(hasText ? [{ ...message, content: [textPart(text)] }] : []), ...toolCalls.map(callItem)];
}

function callItem({ id, ownId, name, argumentsText }: ToolCall): Item {
  const call_id = ownId ?? `call_${id}`;
  return {
    id: `fc_${id}`,
    type: "function_call",
    status: "completed",
    call_id,
    name,
    arguments: argumentsText,
  };
}

function textPart(text: string) {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function usageOf({ promptTokens, cachedTokens = 0 }: Call, { completionTokens }: SimulatedAnswer) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  };
}

function sse(event: Event): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
