import { afterAll, describe, expect, test } from "vitest";
import type { ProviderReply } from "../../src/providers/provider.ts";
import { chunk, eventsOf, type Fields, type Odd, wholeAnswer } from "../support/odd-answers.ts";
import { expectNormal, json, openOddWire } from "../support/odd-wire.ts";
import { DIALECTS } from "../support/provider.ts";

const wire = openOddWire();
const { ask, streamed } = wire;
afterAll(wire.close);

const choiceOf = ({ body }: ProviderReply) => body.choices[0] as ProviderReply["body"]["choices"][number];

/** The choice of an answer, which is the same whole and streamed. */
async function bothWays(dialect: "openai" | "anthropic", odd: Odd) {
  const whole = wholeAnswer(dialect, odd);
  const reply = await ask(dialect, json(whole));
  expectNormal(reply);
  const pieces = await streamed(dialect, eventsOf(dialect, whole));
  expect(choiceOf(pieces)).toEqual(choiceOf(reply));
  return choiceOf(reply);
}

const saying = (dialect: "openai" | "anthropic", text: string): Odd =>
  dialect === "openai" ? { message: { content: text } } : { top: { content: [{ type: "text", text }] } };

describe.each(DIALECTS)("the %s dialect: what the model thinks in its text", (dialect) => {
  test.each([
    ["a block", '<think>\nI add. {"a": 1}\n</think>\n\nFour.', 'I add. {"a": 1}', "Four."],
    ["after white space", "\n \n<think>I add.</think>Four.", "I add.", "Four."],
    ["another tag", "<thinking>I add.</thinking>\nFour.", "I add.", "Four."],
    ["in capitals", "<THINK>I add.</Think> Four.", "I add.", "Four."],
    ["square brackets", "[THINK]I add.[/THINK]Four.", "I add.", "Four."],
    ["an empty block", "<think>\n\n</think>\n\nFour.", "", "Four."],
    ["two blocks", "<think>One.</think>\n<think>Two.</think>\nFour.", "One.\n\nTwo.", "Four."],
    ["a block that never closes", "<think>\nI add and add", "I add and add", ""],
    ["only a closing tag", "I add.\n</think>\n\nFour.", "I add.", "Four."],
    ["only a closing tag, in the line", "I add.</think>Four.", "I add.", "Four."],
    ["a closing tag before anything", "</think>\n\nFour.", "", "Four."],
    ["letters that grow when they are lowered", "<think>İİİ</think>İ Four.", "İİİ", "İ Four."],
    ["a draft that is JSON", '{"a": 1}? No.\n</think>\n{"a": 2}', '{"a": 1}? No.', '{"a": 2}'],
  ])("%s", async (_name, text, reasoning, answer) => {
    const { message } = await bothWays(dialect, saying(dialect, text));
    expect([message.reasoning ?? "", message.content]).toEqual([reasoning, answer]);
  });

  test.each([
    "The <think> tag holds thoughts. </think> ends them.",
    "Write `</think>` at the end.",
    'End with "</think>" and answer.',
    "The tag </think> ends the thoughts.",
    "```\nthoughts\n</think>\n```\nThat is it.",
    '{"html": "a</think>b"}',
    "Four. <think>No, five?</think>",
    "<thinkers> are many",
    "a < b </thin",
    "<",
  ])("a text that speaks of tags stays: %s", async (text) => {
    const { message } = await bothWays(dialect, saying(dialect, text));
    expect([message.reasoning, message.content]).toEqual([undefined, text]);
  });
});

describe("the OpenAI dialect: what the model thinks beside its text", () => {
  test.each<[string, Fields]>([
    ["reasoning_content", { reasoning_content: "I add." }],
    ["reasoning", { reasoning: "I add." }],
    ["two fields that say the same", { reasoning: "I add.", reasoning_content: "I add." }],
    [
      "reasoning_details",
      {
        reasoning_details: [
          { type: "reasoning.text", text: "I add.", signature: "s", format: "f", index: 0 },
          { type: "reasoning.encrypted", data: "x", index: 1 },
        ],
      },
    ],
    ["reasoning_text", { reasoning_text: "I add.", reasoning_opaque: "x" }],
    ["thinking", { thinking: "I add." }],
  ])("%s, which stays as it came", async (_name, fields) => {
    const { message } = await bothWays("openai", { message: { content: "Four.", ...fields } });
    expect(message).toEqual({ role: "assistant", content: "Four.", reasoning: "I add.", ...fields });
  });

  test("an object, and an empty content", async () => {
    const object = { content: "I add.", tokens: 3 };
    const { message } = await bothWays("openai", { message: { content: "Four.", reasoning: object } });
    expect(message).toEqual({
      role: "assistant",
      content: "Four.",
      reasoning: "I add.",
      reasoning_object: object,
    });
    const alone = await bothWays("openai", {
      message: { content: null, reasoning: "I add." },
      choice: { finish_reason: "length" },
    });
    expect(alone).toMatchObject({ finish_reason: "length", message: { content: "", reasoning: "I add." } });
  });

  test("details that come in pieces are put together", async () => {
    const detail = (more: object) =>
      chunk({ reasoning_details: [{ type: "reasoning.text", index: 0, ...more }] });
    const events = [
      detail({ text: "I " }),
      detail({ text: "add." }),
      detail({ signature: "s" }),
      chunk({ content: "Four." }, "stop"),
    ];
    const { message } = choiceOf(await streamed("openai", events));
    expect(message).toMatchObject({
      reasoning: "I add.",
      reasoning_details: [{ type: "reasoning.text", index: 0, text: "I add.", signature: "s" }],
    });
  });

  test("a field and a block in the text", async () => {
    const message = { reasoning_content: "One.", content: "<think>Two.</think>Four." };
    const events = [
      chunk({ reasoning_content: message.reasoning_content }),
      chunk({ content: message.content }, "stop"),
    ];
    for (const reply of [
      await ask("openai", json(wholeAnswer("openai", { message }))),
      await streamed("openai", events),
    ])
      expect(choiceOf(reply).message).toMatchObject({ reasoning: "One.\n\nTwo.", content: "Four." });
  });
});

describe("the OpenAI dialect: content", () => {
  const text = (value: string) => ({ type: "text", text: value });
  test.each<[string, unknown, string]>([
    ["parts", [text("fi"), text("ne")], "fine"],
    ["texts", ["fi", "ne"], "fine"],
    ["parts without a type", [{ text: "fine" }], "fine"],
    ["one part", text("fine"), "fine"],
    ["parts of Responses", [{ type: "output_text", text: "fine" }], "fine"],
    ["a number", 42, "42"],
    ["an object", { total: 44 }, '{"total":44}'],
    ["no part", [], ""],
    ["what is no part between them", [null, {}, 5, text("fine"), { type: null, text: "" }], "fine"],
  ])("%s", async (_name, content, expected) => {
    const { message } = choiceOf(await ask("openai", json(wholeAnswer("openai", { message: { content } }))));
    expect(message).toEqual({ role: "assistant", content: expected });
    const whole = await streamed("openai", [chunk({ content }), chunk({}, "stop")]);
    expect(choiceOf(whole).message).toEqual(message);
  });

  test("parts of other types are kept, and thinking is no text", async () => {
    const thinking = { type: "thinking", thinking: [text("I add.")] };
    const parts = [thinking, text("fi"), { type: "image_url", image_url: { url: "data:" } }, text("ne")];
    const { message } = choiceOf(
      await ask("openai", json(wholeAnswer("openai", { message: { content: parts } }))),
    );
    expect(message).toEqual({
      role: "assistant",
      content: "fine",
      reasoning: "I add.",
      content_parts: parts,
    });
    const think = (value: string) => chunk({ content: [{ type: "thinking", thinking: [text(value)] }] });
    const pieces = await streamed("openai", [
      think("I "),
      think("add."),
      chunk({ content: "fi" }),
      chunk({ content: "ne" }, "stop"),
    ]);
    expect(choiceOf(pieces).message).toEqual({
      ...{ role: "assistant", content: "fine", reasoning: "I add." },
      content_parts: [thinking, text("fine")],
    });
  });

  test("a refusal is told as such, and so is what a filter took away", async () => {
    const refused = await bothWays("openai", { message: { content: null, refusal: "I cannot." } });
    expect(refused).toMatchObject({
      finish_reason: "content_filter",
      message: { content: null, refusal: "I cannot." },
    });
    const part = choiceOf(
      await ask(
        "openai",
        json(wholeAnswer("openai", { message: { content: [{ type: "refusal", refusal: "I cannot." }] } })),
      ),
    );
    expect(part).toMatchObject({ finish_reason: "content_filter", message: { refusal: "I cannot." } });
    for (const message of [{ content: "" }, { content: "Half" }]) {
      const filtered = await bothWays("openai", { message, choice: { finish_reason: "content_filter" } });
      expect(filtered).toMatchObject({ finish_reason: "content_filter" });
      expect(filtered.message.content).toBe(message.content || null);
    }
    const gone = await ask(
      "openai",
      json(
        wholeAnswer("openai", { choice: { message: undefined, finish_reason: "content_filter: SAFETY" } }),
      ),
    );
    expect(choiceOf(gone)).toMatchObject({ finish_reason: "content_filter", message: { content: null } });
  });

  test("what is no text in the place of a refusal is none", async () => {
    for (const refusal of [undefined, null, "", 0, 17, true, {}, []]) {
      const choice = await bothWays("openai", { message: { refusal } });
      expect(choice).toMatchObject({ finish_reason: "stop", message: { content: "fine" } });
    }
  });

  test("a message in delta, and a text without a message", async () => {
    for (const choice of [{ delta: { content: "fine" } }, { text: "fine" }]) {
      const whole = wholeAnswer("openai", { choice: { message: undefined, ...choice } });
      expect(choiceOf(await ask("openai", json(whole))).message.content).toBe("fine");
      const event = { choices: [{ ...choice, finish_reason: "stop" }] };
      expect(choiceOf(await streamed("openai", [event])).message.content).toBe("fine");
    }
  });

  test("several answers, where several were asked for, stay several", async () => {
    const choices = ["One.", "Two."].map((content, index) => ({
      index,
      message: { role: "assistant", content },
      finish_reason: "stop",
    }));
    const { body } = await ask("openai", json(wholeAnswer("openai", { top: { choices } })), undefined, {
      n: 2,
    });
    expect(body.choices.map(({ message }) => message.content)).toEqual(["One.", "Two."]);
  });
});

describe("the Anthropic dialect: content", () => {
  const thinking = { type: "thinking", thinking: "I add.", signature: "s" };
  const redacted = { type: "redacted_thinking", data: "x" };

  test("thinking blocks, which stay whole beside the normal form", async () => {
    const content = [thinking, redacted, { type: "text", text: "Four." }];
    const { message } = await bothWays("anthropic", { top: { content } });
    expect(message).toMatchObject({
      content: "Four.",
      reasoning: "I add.",
      thinking_blocks: [thinking, redacted],
    });
    expect(message.content_parts).toBeUndefined();
  });

  test("blocks of other types are kept in their order", async () => {
    const search = { type: "server_tool_use", id: "s", name: "web_search", input: { query: "four" } };
    const found = { type: "web_search_tool_result", tool_use_id: "s", content: [] };
    const content = [search, found, { type: "text", text: "Four." }];
    const { message } = await bothWays("anthropic", { top: { content } });
    expect(message).toMatchObject({ content: "Four.", content_parts: content });
  });

  test("a text in place of blocks, and blocks that say all with their beginning", async () => {
    const reply = await ask("anthropic", json(wholeAnswer("anthropic", { top: { content: "fine" } })));
    expect(choiceOf(reply).message.content).toBe("fine");
    const pieces = await streamed("anthropic", [
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "fine" } },
      { type: "content_block_delta", delta: { type: "text_delta", text: ", thanks" } },
      { type: "message_delta", delta: { stop_reason: "end_turn" } },
    ]);
    expect(choiceOf(pieces).message.content).toBe("fine, thanks");
  });

  test("a refusal, with its text or with the provider's words", async () => {
    const choice = { stop_reason: "refusal" };
    const said = await bothWays("anthropic", {
      choice,
      top: { content: [{ type: "text", text: "I will not." }] },
    });
    expect(said).toMatchObject({ finish_reason: "content_filter", message: { content: "I will not." } });
    const details = { type: "refusal", category: "cyber", explanation: "Against the policy." };
    const silent = await bothWays("anthropic", {
      choice: { ...choice, stop_details: details },
      top: { content: [] },
    });
    expect(silent).toMatchObject({
      finish_reason: "content_filter",
      stop_details: details,
      message: { content: null, refusal: "Against the policy." },
    });
  });
});
