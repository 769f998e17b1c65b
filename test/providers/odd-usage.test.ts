import { afterAll, describe, expect, test } from "vitest";
import { chunk, eventsOf, type Fields, wholeAnswer } from "../support/odd-answers.ts";
import { expectNormal, json, openOddWire } from "../support/odd-wire.ts";
import { DIALECTS } from "../support/provider.ts";

const wire = openOddWire();
const { ask, streamed } = wire;
afterAll(wire.close);

describe.each(DIALECTS)("the %s dialect", (dialect) => {
  test.each<[string, unknown, object]>([
    [
      "texts",
      dialect === "openai"
        ? { prompt_tokens: "10", completion_tokens: " 5", total_tokens: "15" }
        : { input_tokens: "10", output_tokens: "5" },
      { prompt: 10, completion: 5, total: 15 },
    ],
    [
      "a missing count",
      dialect === "openai"
        ? { prompt_tokens: 10, completion_tokens: null, total_tokens: 10 }
        : { input_tokens: 10, output_tokens: null },
      { prompt: 10, completion: 1, estimated: true },
    ],
    ["the total alone", { total_tokens: 30 }, { total: 30, estimated: true }],
    [
      "negative counts",
      { prompt_tokens: -1, completion_tokens: -2, input_tokens: -3, output_tokens: -1, total_tokens: -3 },
      { completion: 1, estimated: true },
    ],
    [
      "zeros",
      { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0, input_tokens: 0, output_tokens: 0 },
      { completion: 1, estimated: true },
    ],
    [
      "fractions",
      { prompt_tokens: 10.4, completion_tokens: 4.6, input_tokens: 10.4, output_tokens: 4.6 },
      { prompt: 10, completion: 5, total: 15 },
    ],
    [
      "counts that follow from the total",
      { prompt_tokens: 10, input_tokens: 10, total_tokens: 15 },
      { prompt: 10, completion: 5, total: 15 },
    ],
    [
      "the other dialect's words",
      dialect === "openai"
        ? { input_tokens: 4, cache_read_input_tokens: 6, output_tokens: 5 }
        : { prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 6 }, completion_tokens: 5 },
      { prompt: 10, cached: 6, completion: 5, total: 15 },
    ],
    [
      "nothing but objects",
      { prompt_tokens: {}, completion_tokens: [], input_tokens: "many", output_tokens: true },
      { completion: 1, estimated: true },
    ],
  ])("usage of %s", async (_name, usage, expected) => {
    const whole = wholeAnswer(dialect, { top: { usage } });
    for (const reply of [
      await ask(dialect, json(whole)),
      await streamed(dialect, eventsOf(dialect, whole)),
    ]) {
      expectNormal(reply);
      expect(reply.tokens).toMatchObject(expected);
      expect(reply.tokens.estimated).toBe("estimated" in expected ? true : undefined);
      expect(reply.body.usage?.estimated).toBe(reply.tokens.estimated);
    }
  });
});

test("what Anthropic counts before it writes the answer is not the answer's count", async () => {
  const start = { type: "message_start", message: { usage: { input_tokens: 10, output_tokens: 1 } } };
  const block = { type: "content_block_start", index: 0, content_block: { type: "text", text: "fine" } };
  const end = (usage: unknown) => ({ type: "message_delta", delta: { stop_reason: "end_turn" }, usage });
  const told = await streamed("anthropic", [start, block, end({ output_tokens: 5 })]);
  expect(told.tokens).toEqual({ prompt: 10, completion: 5, total: 15, cached: 0 });
  const silent = await streamed("anthropic", [start, block, end(null)]);
  expect(silent.tokens).toEqual({ prompt: 10, completion: 1, total: 11, cached: 0, estimated: true });
});

describe("the OpenAI dialect: usage in other places", () => {
  test.each<[string, Fields]>([
    ["x_groq", { usage: null, x_groq: { id: "r", usage: { prompt_tokens: 10, completion_tokens: 5 } } }],
    [
      "Gemini's",
      {
        usage: undefined,
        usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 },
      },
    ],
    ["Ollama's", { usage: undefined, prompt_eval_count: 10, eval_count: 5 }],
  ])("%s", async (_name, top) => {
    const { tokens } = await ask("openai", json(wholeAnswer("openai", { top })));
    expect(tokens).toEqual({ prompt: 10, completion: 5, total: 15, cached: 0 });
  });

  test("an earlier or later chunk, a choice, and counts that grow", async () => {
    const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
    const streams = [
      [chunk({ content: "fine" }, null, { usage }), chunk({}, "stop", { usage: null })],
      [
        chunk({ content: "fine" }, null, { usage }),
        chunk({}, "stop", { usage: { prompt_tokens: 0, completion_tokens: 0 } }),
      ],
      [
        chunk({ content: "fine" }, null, { usage: { prompt_tokens: 10 } }),
        chunk({}, "stop"),
        { choices: [], usage: { completion_tokens: 5 } },
      ],
      [
        chunk({ content: "fi" }, null, { usage: { ...usage, completion_tokens: 1, total_tokens: 11 } }),
        chunk({ content: "ne" }, "stop", { usage }),
      ],
      [chunk({ content: "fine" }), { choices: [{ index: 0, delta: {}, finish_reason: "stop", usage }] }],
      [chunk({ content: "fine" }), chunk({}, "stop", { x_groq: { usage } })],
    ];
    for (const events of streams) {
      const { tokens, body } = await streamed("openai", events);
      expect([body.choices[0]?.message.content, tokens]).toEqual([
        "fine",
        { prompt: 10, completion: 5, total: 15, cached: 0 },
      ]);
    }
  });
});
