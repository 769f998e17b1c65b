import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineTool, StructuredOutputError } from "../../src/index.ts";
import { chunk, type Odd, sse, wholeAnswer } from "../support/odd-answers.ts";
import { type OddAnswer, type OddSite, oddSite } from "../support/odd-provider.ts";
import { failureOf } from "../support/provider.ts";
import { collect, outcome } from "../support/streamed.ts";

/** What the provider answers to each prompt, call after call; the last one again and again. */
const answers = new Map<string, OddAnswer[]>();
let odd: OddSite;

beforeAll(async () => {
  odd = await oddSite(({ prompt }) => {
    const [key = ""] = [...answers.keys()].filter((known) => prompt.startsWith(known));
    const left = answers.get(key) ?? [];
    return (left.length > 1 ? left.shift() : left[0]) ?? "fine";
  });
});
afterAll(() => odd[Symbol.asyncDispose]());

const whole = (fields: Odd): OddAnswer => ({ status: 200, body: wholeAnswer("openai", fields) });
const streaming = (...events: unknown[]): OddAnswer => ({
  status: 200,
  body: sse("openai", events),
  headers: { "content-type": "text/event-stream" },
});
const totalSchema = z.object({ total: z.number() });

function scripted(prompt: string, ...script: OddAnswer[]): string {
  answers.set(prompt, script);
  return prompt;
}

/** The bodies that the provider got for a prompt. */
function sent(prompt: string) {
  return odd.server.requests.map(({ body }) => body).filter((body) => body.includes(`"${prompt}"`));
}

test("a refusal is the answer's text, and of a structured answer the text that was rejected", async () => {
  const refusal = whole({ message: { content: null, refusal: "I cannot help with that." } });
  const result = await odd.glue.complete(scripted("refused", refusal));
  expect(result).toMatchObject({ finalResponse: "I cannot help with that.", finishReason: "content_filter" });
  const error = await failureOf(odd.glue.structuredComplete("refused", { schema: totalSchema }));
  expect(error).toBeInstanceOf(StructuredOutputError);
  expect(error).toMatchObject({ rejected: { text: "I cannot help with that." } });
  const pieces = [chunk({ refusal: "I cannot " }), chunk({ refusal: "help." }), chunk({}, "stop")];
  expect(
    outcome(await collect(odd.glue.stream(scripted("in pieces, refused", streaming(...pieces))))),
  ).toMatchObject({
    text: "I cannot help.",
    result: "I cannot help.",
  });
});

test("a structured answer is what comes after the model's thoughts, in each mode", async () => {
  const text = '<think>\nThat is {"total": 40}. No, tax comes on top.\n</think>\n\n{"total": 44}';
  scripted("total", whole({ message: { content: text } }));
  for (const outputMode of ["native", "prompt"] as const)
    expect(await odd.glue.structuredComplete("total", { schema: totalSchema, outputMode })).toEqual({
      total: 44,
    });
  const { finalResponse, reasoning, output } = await odd.glue.complete("total", { schema: totalSchema });
  expect([finalResponse, reasoning, output]).toEqual([
    '{"total": 44}',
    'That is {"total": 40}. No, tax comes on top.',
    { total: 44 },
  ]);
});

test("thoughts are events of their own, for late readers too; text that turns out to be one is taken back", async () => {
  const events = [
    chunk({ reasoning_content: "I " }),
    chunk({ reasoning_content: "add." }),
    chunk({ content: "Four." }, "stop"),
  ];
  const handle = await odd.glue.enqueue(scripted("thinks", streaming(...events)), { stream: true });
  for (const told of [await collect(handle.stream()), await collect(handle.stream())]) {
    expect(outcome(told)).toMatchObject({ text: "Four.", result: "Four." });
    const thoughts = told.flatMap((event) => (event.type === "reasoning" ? event.text : []));
    expect(thoughts.join("")).toBe("I add.");
  }
  expect((await handle.result()).reasoning).toBe("I add.");

  const late = [
    chunk({ content: "I add." }),
    chunk({ content: "\n</think>\n\n" }),
    chunk({ content: "Four." }, "stop"),
  ];
  const told = await collect(odd.glue.stream(scripted("thinks first", streaming(...late))));
  expect(outcome(told)).toMatchObject({ text: "Four.", result: "Four." });
  const last = told.at(-1);
  expect(last?.type === "result" && last.result.reasoning).toBe("I add.");
});

test("tokens that the provider does not tell are estimated, and marked so in the result", async () => {
  const { tokensUsed, rawResponse } = await odd.glue.complete(
    scripted("uncounted", whole({ top: { usage: null } })),
  );
  expect(tokensUsed).toEqual({ prompt: 7, completion: 1, total: 8, cached: 0, estimated: true });
  expect(rawResponse.usage).toMatchObject({ total_tokens: 8, estimated: true });
  expect((await odd.glue.complete(scripted("counted", whole({})))).tokensUsed).not.toHaveProperty(
    "estimated",
  );
});

test("an answer that says it is an error is asked for again, and never cached", async () => {
  const broken = whole({ message: { content: "half" }, choice: { finish_reason: "error" } });
  scripted("breaks", broken, whole({}));
  const first = await odd.glue.complete("breaks", { temperature: 0 });
  expect(first).toMatchObject({ finalResponse: "fine", attempts: 2, fromCache: false });
  expect(await odd.glue.complete("breaks", { temperature: 0 })).toMatchObject({
    finalResponse: "fine",
    fromCache: true,
  });
  expect(sent("breaks")).toHaveLength(2);
});

test("calls without ids, turn after turn: each has its own, and its result", async () => {
  const double = defineTool({
    name: "double",
    description: "Doubles a number.",
    parameters: z.object({ n: z.number() }),
    execute: ({ n }) => n * 2,
  });
  const calling = (...numbers: number[]) =>
    whole({
      top: { usage: null },
      message: {
        content: null,
        tool_calls: numbers.map((n) => ({ function: { name: "double", arguments: { n } } })),
      },
      choice: { finish_reason: "stop" },
    });
  // The prompt of the turns that follow is the last tool's result.
  scripted("doubles", calling(1, 2));
  scripted("4", calling(3));
  scripted("6", whole({ message: { content: "2, 4, 6." } }));
  const result = await odd.glue.complete("doubles", { tools: [double] });
  expect(result).toMatchObject({
    finalResponse: "2, 4, 6.",
    toolCallsMade: 3,
    tokensUsed: { estimated: true },
  });
  expect(result.toolExecutionHistory.map(({ result: brought }) => brought)).toEqual(["2", "4", "6"]);
  const { messages } = JSON.parse(sent("doubles").at(-1) ?? "") as {
    messages: { role: string; tool_call_id?: string; tool_calls?: { id: string }[] }[];
  };
  const ids = messages.flatMap(({ tool_calls: calls = [] }) => calls.map(({ id }) => id));
  expect(new Set(ids).size).toBe(3);
  expect(messages.flatMap(({ tool_call_id: id }) => id ?? [])).toEqual(ids);
});

test("calls that are left to the caller have their ids and parsed arguments", async () => {
  const calls = [
    { function: { name: "double", arguments: { n: 1 } } },
    { id: 7, function: { name: "double", arguments: '{"n":2}' } },
  ];
  scripted(
    "by hand",
    whole({ message: { content: null, tool_calls: calls }, choice: { finish_reason: "stop" } }),
  );
  const { toolCalls, finishReason } = await odd.glue.complete("by hand");
  expect([finishReason, toolCalls]).toEqual([
    "tool_calls",
    [
      { id: expect.stringMatching(/^call_/), name: "double", arguments: { n: 1 } },
      { id: "7", name: "double", arguments: { n: 2 } },
    ],
  ]);
});
