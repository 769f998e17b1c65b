import { expect, test } from "vitest";
import { MessageEvents } from "../../../src/api/messages/message-stream.ts";
import type { CompletionEvent, CompletionResult } from "../../../src/calls/completion-result.ts";

const TEXT = { type: "text", text: "one two" };
const resultOf = (...content: object[]) =>
  ({
    type: "result",
    result: {
      rawResponse: {
        id: "x",
        model: "m",
        choices: [{ message: { role: "assistant", content: "one two" }, finish_reason: "stop" }],
        message: { content, stop_reason: "end_turn", usage: { input_tokens: 1, output_tokens: 2 } },
      },
    } as unknown as CompletionResult,
  }) as const;
const vendor = (event: Record<string, unknown>): CompletionEvent => ({ type: "vendor", event });
const opened = (text: string) =>
  vendor({ type: "content_block_start", index: 0, content_block: { type: "text", text } });
const start = opened("");
const delta = (text: string) =>
  vendor({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } });
const stop = vendor({ type: "content_block_stop", index: 0 });
const restart: CompletionEvent = { type: "restart", turn: 1 };

/** The types of the events, and what their texts add up to. */
function told(isVerbatim: boolean, events: readonly CompletionEvent[]) {
  const stream = new MessageEvents({ id: "msg_1", model: "m", isVerbatim });
  const all = events.flatMap((event) => stream.take(event));
  const texts = all.map(({ delta: piece }) => (piece as { text?: string } | undefined)?.text ?? "");
  const types = all.map(({ type }) => type);
  return { types: types.filter((type, i) => type !== types[i - 1]), text: texts.join("") };
}
const WHOLE = {
  types: [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ],
  text: "one two",
};

test.each<[string, CompletionEvent[]]>([
  ["as it came", [start, delta("one"), delta(" two"), stop]],
  ["with its first piece in the beginning", [opened("one"), delta(" two"), stop, restart, opened("one t")]],
  ["begun anew after a part", [start, delta("one"), restart, start, delta("o"), delta("ne two"), stop]],
  ["begun anew after its end", [start, delta("one two"), stop, restart, start, delta("one two"), stop]],
  ["lost after a part", [start, delta("one")]],
  ["not told at all, as from the cache", []],
])("a verbatim answer %s is told once and whole", (_, events) => {
  expect(told(true, [...events, resultOf(TEXT)])).toEqual(WHOLE);
});

test.each<[string, CompletionEvent[]]>([
  [
    "as it came",
    [
      { type: "text", text: "one" },
      { type: "text", text: " two" },
    ],
  ],
  ["begun anew", [{ type: "text", text: "one" }, restart, { type: "text", text: "one two" }]],
])("a translated answer %s is told once and whole", (_, events) => {
  expect(told(false, [...events, resultOf(TEXT)])).toEqual(WHOLE);
});

test("another answer than the one that was begun is an error, not a mixture", () => {
  const contradicts = expect.objectContaining({ code: "stream_restarted" });
  expect(() => told(true, [start, delta("one"), restart, start, delta("two")])).toThrow(contradicts);
  expect(() => told(true, [start, delta("two"), resultOf(TEXT)])).toThrow(contradicts);
  expect(() => told(false, [{ type: "text", text: "a" }, restart, { type: "text", text: "b" }])).toThrow(
    contradicts,
  );
});

test("blocks that came in no event are told before the end", () => {
  const { types } = told(true, [
    start,
    delta("one two"),
    stop,
    resultOf(TEXT, { type: "redacted_thinking", data: "x" }),
  ]);
  expect(types.slice(3)).toEqual([
    "content_block_stop",
    "content_block_start",
    "content_block_stop",
    "message_delta",
    "message_stop",
  ]);
});
