import { expect, test } from "vitest";
import { StreamFold } from "../../src/producers/stream-fold.ts";
import { type ChatCompletion, chatCompletionSchema } from "../../src/shared/chat.ts";
import type { StreamEntry, StreamEvent, StreamPiece } from "../../src/shared/stream-events.ts";

const text = (value: string): StreamPiece => ({ type: "text", text: value });
const entry = (token: string, number: number, pieces: StreamPiece[], turn = 1): StreamEntry => ({
  token,
  turn,
  number,
  pieces,
});

function body(content: string | null, toolCalls?: object[]): ChatCompletion {
  const message = { role: "assistant", content, ...(toolCalls && { tool_calls: toolCalls }) };
  const choices = [{ message, finish_reason: "stop" }];
  return chatCompletionSchema.parse({ id: "1", object: "chat.completion", model: "m", choices });
}

/** What a reader has in its hands: the text of the last turn. */
function textOf(events: StreamEvent[]): string {
  return events.reduce((sum, event) => {
    if (event.type === "text") return sum + event.text;
    return event.type === "toolCall" ? sum : "";
  }, "");
}

function told(entries: StreamEntry[], answer: ChatCompletion, turn = 1): StreamEvent[] {
  const fold = new StreamFold();
  return [...entries.flatMap((each) => fold.take(each)), ...fold.rest(answer, turn)];
}

test("pieces in order are told as they are, and nothing more at the end", () => {
  const events = told([entry("a", 0, [text("Hello ")]), entry("a", 1, [text("world")])], body("Hello world"));
  expect(events).toEqual([text("Hello "), text("world")]);
});

test("an answer that was not streamed comes in one piece, tool calls too", () => {
  const call = { id: "c", type: "function", function: { name: "f", arguments: "{}" } };
  expect(told([], body("all", [call]))).toEqual([
    text("all"),
    { type: "toolCall", index: 0, id: "c", name: "f", arguments: "{}" },
  ]);
});

test("reasoning is told apart from the text, and its rest before the text's", () => {
  const thought = (value: string): StreamPiece => ({ type: "reasoning", text: value });
  const answer = body("Four.");
  Object.assign(answer.choices[0]?.message ?? {}, { reasoning: "I add." });
  expect(told([], answer)).toEqual([thought("I add."), text("Four.")]);
  expect(told([entry("a", 0, [thought("I ")])], answer)).toEqual([
    thought("I "),
    thought("add."),
    text("Four."),
  ]);
  expect(told([entry("a", 0, [text("I add.")])], answer)).toEqual([
    text("I add."),
    { type: "restart", turn: 1 },
    thought("I add."),
    text("Four."),
  ]);
});

test("a second start of a turn is a restart, one of the next turn is a turn", () => {
  const events = told(
    [
      entry("a", 0, [text("Let me loo")]),
      entry("b", 0, [text("I look.")]),
      entry("c", 0, [text("It is ")], 2),
      entry("d", 0, [text("It rains.")], 2),
    ],
    body("It rains."),
    2,
  );
  expect(events.filter(({ type }) => type !== "text")).toEqual([
    { type: "restart", turn: 1 },
    { type: "turn", turn: 2 },
    { type: "restart", turn: 2 },
  ]);
  expect(textOf(events)).toBe("It rains.");
});

test("an answer of a turn that was not told comes after that turn's event; of an untold job without one", () => {
  expect(told([entry("a", 0, [text("I look.")])], body("It rains."), 3)).toEqual([
    text("I look."),
    { type: "turn", turn: 3 },
    text("It rains."),
  ]);
  expect(told([], body("It rains."), 3)).toEqual([text("It rains.")]);
});

test("late pieces of a call that was replaced are not told", () => {
  const events = told(
    [entry("a", 0, [text("old")]), entry("b", 0, [text("new")]), entry("a", 1, [text(" more old")])],
    body("new answer"),
  );
  expect(events).toEqual([text("old"), { type: "restart", turn: 1 }, text("new"), text(" answer")]);
});

test("whatever is lost, doubled or mixed, the text since the last restart is a beginning of one call's, and at the end the answer", () => {
  let state = 7;
  const random = (below: number) => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return Math.floor((state / 2 ** 32) * below);
  };
  const answers = ["Hello 🌍, this is it.", "Hello there, something else.", "漢字 and more 漢字"];
  for (let round = 0; round < 2000; round++) {
    const entries: StreamEntry[] = [];
    for (let call = 0; call <= random(3); call++) {
      const whole = answers[random(answers.length)] ?? "";
      for (let at = 0, number = 0; at < whole.length; number++) {
        const size = 1 + random(9);
        entries.push(entry(`call-${call}`, number, [text(whole.slice(at, at + size))]));
        at += size;
      }
    }
    for (let change = random(4); change > 0; change--) {
      const [moved] = entries.splice(random(entries.length), 1);
      if (moved && random(2)) entries.splice(random(entries.length), 0, moved, ...(random(2) ? [moved] : []));
    }
    const answer = answers[random(answers.length)] ?? "";
    const events = told(entries, body(answer));
    for (const [at] of events.entries()) {
      const now = textOf(events.slice(0, at + 1));
      expect(answers.some((whole) => whole.startsWith(now))).toBe(true);
    }
    expect(textOf(events)).toBe(answer);
  }
});

test("arguments of tool calls that differ from the answer's are void", () => {
  const piece: StreamPiece = { type: "toolCall", index: 0, id: "c", name: "f", arguments: '{"x":' };
  const call = (args: string) => [{ id: "c", type: "function", function: { name: "f", arguments: args } }];
  expect(told([entry("a", 0, [piece])], body(null, call('{"x":1}'))).slice(1)).toEqual([
    { type: "toolCall", index: 0, arguments: "1}" },
  ]);
  expect(told([entry("a", 0, [piece])], body(null, call('{"y":1}'))).slice(1)).toEqual([
    { type: "restart", turn: 1 },
    { type: "toolCall", index: 0, id: "c", name: "f", arguments: '{"y":1}' },
  ]);
});
