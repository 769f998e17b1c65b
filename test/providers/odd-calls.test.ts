import { afterAll, describe, expect, test } from "vitest";
import type { ProviderReply } from "../../src/providers/provider.ts";
import { chunk, eventsOf, type Fields, sse, wholeAnswer } from "../support/odd-answers.ts";
import { expectNormal, json, openOddWire } from "../support/odd-wire.ts";

const wire = openOddWire();
const { ask, streamed } = wire;
afterAll(wire.close);

const PARIS = '{"city":"Paris"}';
const ROME = '{"city":"Rome"}';
const WEATHER_AND_TIME = [
  ["weather", PARIS],
  ["time", ROME],
];

/**
 * The chunks of calls, a piece each: index, id, name, arguments. `-` is left out, `""` an empty text; P and R are arguments, p and r
 * their halves.
 */
function chunksOf(pieces: string): Fields[] {
  const values: Record<string, unknown> = { P: PARIS, R: ROME, "-": undefined, "[city]": { city: "Paris" } };
  for (const [half, whole] of [
    ["p", PARIS],
    ["r", ROME],
  ] as const) {
    values[`${half}1`] = whole.slice(0, 8);
    values[`${half}2`] = whole.slice(8);
  }
  const meant = (word: string) =>
    word in values ? values[word] : /^(\d+|null|""|\{.*)$/.test(word) ? JSON.parse(word) : word;
  return pieces.split(" / ").map((text) => {
    const [index, id, name, args] = text.split(" ").map(meant);
    return chunk({ tool_calls: [{ index, id, type: "function", function: { name, arguments: args } }] });
  });
}

const end = chunk({}, "tool_calls");

/** The names and arguments of the calls; their ids must differ, and the answer must say that it calls. */
function callsOf(reply: ProviderReply): [string, string][] {
  expectNormal(reply);
  const [choice] = reply.body.choices;
  const calls = choice?.message.tool_calls ?? [];
  expect(new Set(calls.map(({ id }) => id)).size).toBe(calls.length);
  expect(choice?.finish_reason).toBe("tool_calls");
  return calls.map(({ function: { name, arguments: args } }) => [name, args]);
}

describe("tool calls in a stream: two are never merged, and one is never split", () => {
  test.each([
    ["by index, the second without an id", '0 a weather "" / 0 - - P / 1 - time "" / 1 - - R'],
    ["without ids, every index 0", "0 - weather P / 0 - time R"],
    ["without ids, every index 0, in pieces", '0 - weather "" / 0 - - p1 / 0 - - p2 / 0 - time "" / 0 - - R'],
    ["without ids and indexes", "- - weather p1 / - - - p2 / - - time R"],
    ["with null for index and id", "null null weather P / null null time r1 / null null null r2"],
    [
      "indexes from 1, interleaved",
      '1 a weather "" / 2 b time "" / 1 - - p1 / 2 - - r1 / 1 - - p2 / 2 - - r2',
    ],
    ["by id alone, interleaved, every index 0", "0 a weather p1 / 0 b time r1 / 0 a - p2 / 0 b - r2"],
    [
      "id and name in each piece",
      '0 a weather "" / 0 a weather p1 / 0 a weather p2 / 1 b time r1 / 1 b time r2',
    ],
    ["and every index 0", '0 a weather "" / 0 a weather p1 / 0 a weather p2 / 0 b time r1 / 0 b time r2'],
    ["name in each piece, without ids", '0 - weather "" / 0 - weather p1 / 0 - weather p2 / 1 - time R'],
    ["a new id for each piece", '0 a weather "" / 0 b - p1 / 0 c - p2 / 1 d time "" / 1 e - R'],
    ["one id for all", "0 x weather P / 1 x time r1 / 1 x - r2"],
    ["an index that counts the pieces", '0 - weather "" / 1 - - p1 / 2 - - p2 / 3 - time "" / 4 - - R'],
    ["an index that jumps", '3 a weather "" / 3 - - P / 7 b time "" / 7 - - R'],
    ["ids in numbers", '0 1 weather "" / 0 - - P / 1 2 time "" / 1 - - R'],
    ["an id that comes late", '0 - weather "" / 0 a - P / 1 - time "" / 1 b - R'],
    ["a name that comes late", '0 a - "" / 0 - weather "" / 0 - - P / 1 b time R'],
    ["arguments as objects", '0 a weather [city] / 1 b time {"city":"Rome"}'],
    ["empty pieces between", '0 a weather P / 0 - - "" / - - - - / 1 b time R / 1 - - ""'],
    ["the last piece told twice", "0 a weather P / 0 a weather P / 1 b time R / 1 b time R"],
  ])("%s", async (_name, pieces) => {
    expect(callsOf(await streamed("openai", [...chunksOf(pieces), end]))).toEqual(WEATHER_AND_TIME);
  });

  test.each([
    "0 - weather P / 0 - weather R",
    '0 - weather "" / 0 - - P / 0 - weather "" / 0 - - R',
    '0 x weather "" / 0 - - P / 1 x weather "" / 1 - - R',
    "0 weather weather P / 1 weather weather R",
    '0 a weather "" / 1 b weather "" / 0 - - P / 1 - - R',
    "- a weather P / - b weather R",
  ])("two calls of one function: %s", async (pieces) => {
    expect(callsOf(await streamed("openai", [...chunksOf(pieces), end]))).toEqual([
      ["weather", PARIS],
      ["weather", ROME],
    ]);
  });

  test("all of them in one chunk, in the old form, in a second choice, with a finish reason of stop", async () => {
    const both = [
      { index: 0, function: { name: "weather", arguments: PARIS } },
      { index: 0, function: { name: "time", arguments: ROME } },
    ];
    expect(callsOf(await streamed("openai", [chunk({ tool_calls: both }), end]))).toEqual(WEATHER_AND_TIME);
    expect(callsOf(await streamed("openai", [chunk({ tool_calls: both }, "stop")]))).toEqual(
      WEATHER_AND_TIME,
    );
    const old = [{ name: "weather", arguments: "" }, { arguments: '{"city":' }, { arguments: '"Paris"}' }];
    const pieces = old.map((called) => chunk({ function_call: called }));
    expect(callsOf(await streamed("openai", [...pieces, chunk({}, "function_call")]))).toEqual([
      ["weather", PARIS],
    ]);
    const inChoice = (index: number, delta: object, finish: string | null = null) => ({
      choices: [{ index, delta, finish_reason: finish }],
    });
    const spread = [
      inChoice(0, { content: "I look." }),
      inChoice(1, { tool_calls: [{ index: 0, id: "a", function: { name: "weather", arguments: PARIS } }] }),
      inChoice(2, { tool_calls: [{ index: 0, id: "b", function: { name: "time", arguments: ROME } }] }),
      inChoice(0, {}, "stop"),
      inChoice(1, {}, "tool_calls"),
    ];
    const reply = await streamed("openai", spread);
    expect(callsOf(reply)).toEqual(WEATHER_AND_TIME);
    expect(reply.body.choices).toHaveLength(1);
    expect(reply.body.choices[0]?.message.content).toBe("I look.");
  });

  test("Anthropic's blocks: without index, all of one, input with the beginning, without ids", async () => {
    const use = (more: object) => ({ type: "tool_use", id: "a", name: "weather", input: {}, ...more });
    const forms: [unknown, unknown][] = [
      [0, 1],
      [0, 0],
      [undefined, null],
      ["0", "1"],
    ];
    const input = (index: unknown, partial_json: unknown) => ({
      type: "content_block_delta",
      index,
      delta: { type: "input_json_delta", partial_json },
    });
    const stop = {
      type: "message_delta",
      delta: { stop_reason: "tool_use" },
      usage: { input_tokens: 1, output_tokens: 1 },
    };
    for (const [first, second] of forms) {
      const reply = await streamed("anthropic", [
        { type: "content_block_start", index: first, content_block: use({ id: first === 0 ? null : "a" }) },
        input(first, '{"city":'),
        input(first, '"Paris"}'),
        { type: "content_block_start", index: second, content_block: use({ id: "b", name: "time" }) },
        input(second, { city: "Rome" }),
        stop,
      ]);
      expect(callsOf(reply)).toEqual(WEATHER_AND_TIME);
    }
    const whole = await streamed("anthropic", [
      { type: "content_block_start", index: 0, content_block: use({ input: { city: "Paris" } }) },
      { type: "content_block_stop", index: 0 },
      {
        type: "content_block_start",
        index: 1,
        content_block: use({ id: "a", name: "time", input: { city: "Rome" } }),
      },
      stop,
    ]);
    expect(callsOf(whole)).toEqual(WEATHER_AND_TIME);
  });
});

describe("tool calls of a whole answer", () => {
  const call = (name: string, args: unknown, more: object = {}) => ({
    type: "function",
    function: { name, arguments: args },
    ...more,
  });
  test.each<[string, Fields, Fields?]>([
    [
      "arguments as objects",
      {
        tool_calls: [
          call("weather", { city: "Paris" }, { id: "a" }),
          call("time", { city: "Rome" }, { id: "b" }),
        ],
      },
    ],
    [
      "no ids, null and empty ones",
      { tool_calls: [call("weather", PARIS, { id: null }), call("time", ROME, { id: "" })] },
    ],
    [
      "the same id twice",
      { tool_calls: [call("weather", PARIS, { id: "x" }), call("time", ROME, { id: "x" })] },
    ],
    [
      "ids as numbers, no types, indexes, null among them",
      {
        tool_calls: [
          { id: 1, index: 0, function: { name: "weather", arguments: PARIS } },
          null,
          { id: 2, index: 5, function: { name: "time", arguments: ROME } },
        ],
      },
    ],
    [
      "the function's fields in the call",
      {
        tool_calls: [
          { name: "weather", arguments: PARIS },
          { name: "time", input: { city: "Rome" } },
        ],
      },
    ],
    [
      "finish reasons that say stop, or nothing",
      { tool_calls: [call("weather", PARIS), call("time", ROME)] },
      { finish_reason: "stop" },
    ],
    [
      "no finish reason",
      { tool_calls: [call("weather", PARIS), call("time", ROME)] },
      { finish_reason: null },
    ],
  ])("%s", async (_name, message, choice = { finish_reason: "tool_calls" }) => {
    const whole = wholeAnswer("openai", { message: { content: null, ...message }, choice });
    expect(callsOf(await ask("openai", json(whole)))).toEqual(WEATHER_AND_TIME);
  });

  test("in the old form, one that is no list, without arguments, in a later choice", async () => {
    const whole = (message: Fields) =>
      json(wholeAnswer("openai", { message, choice: { finish_reason: "function_call" } }));
    expect(
      callsOf(
        await ask(
          "openai",
          whole({ function_call: { name: "weather", arguments: PARIS }, tool_calls: null }),
        ),
      ),
    ).toEqual([["weather", PARIS]]);
    expect(callsOf(await ask("openai", whole({ tool_calls: call("weather", PARIS) })))).toEqual([
      ["weather", PARIS],
    ]);
    for (const args of [undefined, null, "", " "])
      expect(callsOf(await ask("openai", whole({ tool_calls: [call("weather", args)] })))).toEqual([
        ["weather", "{}"],
      ]);
    const choices = [
      { index: 0, message: { role: "assistant", content: "I look." }, finish_reason: "stop" },
      {
        index: 1,
        message: { role: "assistant", tool_calls: [call("weather", PARIS)] },
        finish_reason: "tool_calls",
      },
      {
        index: 2,
        message: { role: "assistant", tool_calls: [call("time", ROME)] },
        finish_reason: "tool_calls",
      },
    ];
    const reply = await ask("openai", json(wholeAnswer("openai", { top: { choices } })));
    expect(callsOf(reply)).toEqual(WEATHER_AND_TIME);
    expect(reply.body.choices[0]?.message.content).toBe("I look.");
  });

  test("numbers in arguments that are an object keep their digits", async () => {
    const body = JSON.stringify(
      wholeAnswer("openai", { message: { tool_calls: [call("weather", { id: 1 })] } }),
    );
    const reply = await ask("openai", { body: body.replace('"id":1', '"id":9007199254740993') });
    expect(callsOf(reply)).toEqual([["weather", '{"id":9007199254740993}']]);
    const ids = '{"id":9007199254740993,"share":0.12345678901234567890}';
    const exact = await ask("openai", { body: body.replace('{"id":1}', ids) });
    const events = sse("openai", [chunk({ tool_calls: [call("weather", { id: 1 })] }), end]);
    const pieces = { body: events.replace('{"id":1}', ids), type: "text/event-stream" };
    for (const one of [exact, await ask("openai", pieces, () => {})])
      expect(callsOf(one)).toEqual([["weather", ids]]);
  });

  test("what the provider wrote into a call stays in it, streamed or not", async () => {
    const extra = { google: { thought_signature: "sig" } };
    const whole = wholeAnswer("openai", {
      message: { content: null, tool_calls: [call("weather", PARIS, { id: "a", extra_content: extra })] },
    });
    for (const reply of [
      await ask("openai", json(whole)),
      await streamed("openai", eventsOf("openai", whole)),
    ])
      expect(reply.body.choices[0]?.message.tool_calls).toEqual([
        call("weather", PARIS, { id: "a", extra_content: extra }),
      ]);
  });
});
