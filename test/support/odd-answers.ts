import type { Dialect } from "../../src/shared/providers.ts";
import type { Wire } from "./provider.ts";

export type Fields = Record<string, unknown>;

/** A whole answer of the dialect, of which fields are replaced. */
export function wholeAnswer(dialect: Dialect, { top = {}, choice = {}, message = {} }: Odd = {}): Fields {
  if (dialect === "anthropic") {
    return {
      ...{ id: "msg_1", type: "message", role: "assistant", model: "m" },
      content: [{ type: "text", text: "fine" }],
      stop_reason: "end_turn",
      usage: { input_tokens: 10, output_tokens: 5 },
      ...top,
      ...choice,
      ...message,
    };
  }
  return {
    ...{ id: "c1", object: "chat.completion", created: 1, model: "m" },
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "fine", ...message },
        finish_reason: "stop",
        ...choice,
      },
    ],
    usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
    ...top,
  };
}

/** The fields that replace others; undefined leaves one out. Anthropic's answers have one level only. */
export interface Odd {
  top?: Fields;
  choice?: Fields;
  message?: Fields;
}

/** Returns the events of a stream that adds up to the whole answer, its texts in pieces of three characters. */
export function eventsOf(wire: Wire, whole: Fields): unknown[] {
  if (wire === "responses") return responseEvents(whole);
  return wire === "anthropic" ? messageEvents(whole) : chunksOf(whole);
}

/** Returns events as they stand on the wire. */
export function sse(wire: Wire, events: readonly unknown[]): string {
  const lines = events.map((event) => {
    const name = wire !== "openai" ? `event: ${(event as Fields | null)?.type}\n` : "";
    return `${name}data: ${JSON.stringify(event)}\n\n`;
  });
  return lines.join("") + (wire === "openai" ? "data: [DONE]\n\n" : "");
}

/** A chunk of Chat Completions. */
export function chunk(delta: unknown, finish: unknown = null, more: Fields = {}): Fields {
  const head = { id: "c1", object: "chat.completion.chunk", created: 1, model: "m" };
  return { ...head, choices: [{ index: 0, delta, finish_reason: finish }], ...more };
}

function chunksOf({ choices, usage, ...head }: Fields): unknown[] {
  const [{ message, finish_reason: finish, ...choice }] = choices as [Fields];
  const deltas = Object.entries(message as Fields).flatMap(([key, value]) => {
    if (key === "tool_calls" && Array.isArray(value)) return value.flatMap(callDeltas);
    return pieces(value).map((piece) => ({ [key]: piece }));
  });
  const of = (delta: Fields, reason: unknown = null) => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ ...choice, delta, finish_reason: reason }],
  });
  return [...deltas.map((delta) => of(delta)), of({}, finish), { ...head, choices: [], usage }];
}

function callDeltas(call: Fields, index: number): Fields[] {
  const { function: called, ...rest } = call as { function: Fields };
  const [first, ...others] = pieces(called.arguments);
  return [
    { tool_calls: [{ index, ...rest, function: { ...called, arguments: first } }] },
    ...others.map((piece) => ({ tool_calls: [{ index, function: { arguments: piece } }] })),
  ];
}

function messageEvents({ content, stop_reason, usage, ...head }: Fields): unknown[] {
  const blocks = (Array.isArray(content) ? content : []).flatMap((block: Fields, index) => {
    const delta = (piece: Fields) => ({ type: "content_block_delta", index, delta: piece });
    const { text, thinking, signature, input, ...start } = block;
    return [
      {
        type: "content_block_start",
        index,
        content_block: { ...start, ...(input !== undefined && { input: {} }) },
      },
      ...pieces(thinking).map((piece) => delta({ type: "thinking_delta", thinking: piece })),
      ...(signature ? [delta({ type: "signature_delta", signature })] : []),
      ...pieces(text).map((piece) => delta({ type: "text_delta", text: piece })),
      ...(input === undefined ? [] : pieces(JSON.stringify(input))).map((piece) =>
        delta({ type: "input_json_delta", partial_json: piece }),
      ),
      { type: "content_block_stop", index },
    ];
  });
  return [
    { type: "message_start", message: { ...head, content: [], stop_reason: null, usage: null } },
    { type: "ping" },
    ...blocks,
    { type: "message_delta", delta: { stop_reason }, usage },
    { type: "message_stop" },
  ];
}

/** The pieces of output items and, at the end, the whole response. */
function responseEvents(whole: Fields): Fields[] {
  const output = Array.isArray(whole.output) ? (whole.output as Fields[]) : [];
  const begun = { ...whole, status: "in_progress", output: [] };
  return [
    { type: "response.created", response: begun },
    ...output.flatMap((item, at) => itemEvents(item, { output_index: at, item_id: item.id })),
    { type: `response.${whole.status}`, response: whole },
  ];
}

function itemEvents(item: Fields, place: Fields): Fields[] {
  const { content, summary, arguments: args, ...head } = item;
  const deltas = (list: unknown, name: (part: Fields) => string, index: string) =>
    (Array.isArray(list) ? (list as Fields[]) : []).flatMap((part, at) =>
      pieces(part.text ?? part.refusal).map((delta) => ({
        type: `response.${name(part)}.delta`,
        ...place,
        [index]: at,
        delta,
      })),
    );
  const empty = {
    ...(content !== undefined && { content: [] }),
    ...(args !== undefined && { arguments: "" }),
  };
  return [
    { type: "response.output_item.added", ...place, item: { ...head, ...empty } },
    ...deltas(summary, () => "reasoning_summary_text", "summary_index"),
    ...deltas(content, ({ type }) => String(type), "content_index"),
    ...pieces(args).map((delta) => ({ type: "response.function_call_arguments.delta", ...place, delta })),
    { type: "response.output_item.done", ...place, item },
  ];
}

function pieces(value: unknown): unknown[] {
  if (typeof value === "string") return value.match(/.{1,3}/gs) ?? [""];
  return value === undefined ? [] : [value];
}
