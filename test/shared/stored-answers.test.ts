import { expect, test } from "vitest";
import { chatCompletionSchema } from "../../src/shared/chat.ts";
import { streamEntrySchema, toStoredPiece } from "../../src/shared/stream-events.ts";

/** A body as versions before stored it: whatever the provider wrote. */
function stored(message: object, finish: unknown = "stop", usage: unknown = undefined) {
  const choices = [{ index: 0, message, finish_reason: finish }];
  return chatCompletionSchema.parse({ id: "1", object: "chat.completion", model: "m", choices, usage });
}

test("answers of versions before are read in the normal form", () => {
  const choiceOf = (...args: Parameters<typeof stored>) => stored(...args).choices.at(0)!;
  expect(choiceOf({ content: "fine" })).toMatchObject({
    finish_reason: "stop",
    message: { content: "fine" },
  });
  expect(choiceOf({}, null).message).toMatchObject({ role: "assistant", content: null });
  expect(choiceOf({ content: "" }, "end_turn").finish_reason).toBe("stop");
  expect(choiceOf({ content: "", reasoning: { text: "hm" }, refusal: 7 }).message.content).toBe("");
  const call = { function: { name: "add", arguments: { a: 1 } } };
  expect(
    choiceOf({ content: null, tool_calls: [call, { ...call, id: "x" }] }, "tool_calls").message.tool_calls,
  ).toEqual([
    { id: "call_0", type: "function", function: { name: "add", arguments: '{"a":1}' } },
    { id: "x", type: "function", function: { name: "add", arguments: '{"a":1}' } },
  ]);
  expect(choiceOf({ content: "fine", tool_calls: null }).message.tool_calls).toBeUndefined();
  expect(stored({ content: "fine" }, "stop", null).usage).toBeUndefined();
  expect(stored({ content: "fine" }, "stop", { prompt_tokens: 1 }).usage).toEqual({
    ...{ prompt_tokens: 1, completion_tokens: 0, total_tokens: 0 },
  });
});

test("pieces of reasoning are empty texts to versions before, and come back", () => {
  const pieces = [
    { type: "reasoning", text: "hm" },
    { type: "text", text: "fine" },
  ] as const;
  const json = JSON.stringify(pieces.map(toStoredPiece));
  expect(JSON.parse(json)).toEqual([{ type: "text", text: "", reasoning: "hm" }, pieces[1]]);
  expect(streamEntrySchema.parse({ token: "t", turn: 1, number: 0, pieces: json }).pieces).toEqual(pieces);
});
