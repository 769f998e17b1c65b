import { describe, expect, it } from "vitest";
import { z } from "zod";
import { toOutputSpec } from "../../src/calls/output-schema.ts";
import { type ChatCompletion, chatCompletionSchema } from "../../src/shared/chat.ts";
import { compileSchema } from "../../src/shared/compile-schema.ts";
import { InvalidRequestError } from "../../src/shared/errors.ts";
import { problemOf } from "../../src/workers/output/problem.ts";
import { outputText, readOutput } from "../../src/workers/output/read-output.ts";
import { repairMessages } from "../../src/workers/output/repair-messages.ts";

const order = toOutputSpec(
  z.object({ items: z.array(z.object({ price: z.number().min(0) })), state: z.enum(["open", "done"]) }),
  { name: "order" },
);
const GOOD = { items: [{ price: 1 }], state: "done" };

function answer(content: string | null, finish = "stop", more: object = {}): ChatCompletion {
  const message = { role: "assistant", content, ...more };
  const choices = [{ message, finish_reason: finish }];
  return chatCompletionSchema.parse({ id: "1", object: "chat.completion", model: "m", choices });
}

function calling(...calls: [name: string, text: string][]): ChatCompletion {
  const toolCalls = calls.map(([name, text], i) => ({
    id: `call_${i}`,
    type: "function",
    function: { name, arguments: text },
  }));
  return answer(null, "tool_calls", { tool_calls: toolCalls });
}

describe("reading a structured answer", () => {
  it.each([
    ["alone", JSON.stringify(GOOD)],
    ["in a fence", `Here it is:\n\`\`\`json\n${JSON.stringify(GOOD, null, 2)}\n\`\`\`\nEnjoy!`],
    ["with prose around it", `Sure: ${JSON.stringify(GOOD)} - that is all {promised}.`],
    ["after one that does not fit", `Not {"items": []} but ${JSON.stringify(GOOD)}`],
    ["before another that fits", `${JSON.stringify(GOOD)}\n${JSON.stringify({ ...GOOD, state: "open" })}`],
  ])("finds the JSON %s", (_where, text) => {
    expect(readOutput(answer(text), order, "prompt")).toEqual({ ok: true, value: GOOD, text });
  });

  it("is kept in a conversation with the digits that the model wrote", () => {
    const json = '{"id":1990391500702712081,"share":0.12345678901234567890}';
    const text = `Sure:\n${json}`;
    const value = JSON.parse(json);
    expect(outputText(answer(text), { name: "order", wrapped: false }, value)).toBe(json);
    expect(outputText(answer(`{"value":${json}}`), { name: "order", wrapped: true }, value)).toBe(json);
    expect(outputText(calling(["order", json]), { name: "order", wrapped: false }, value)).toBe(json);
    const other = { id: 1 };
    expect(outputText(answer(text), { name: "order", wrapped: false }, other)).toBe('{"id":1}');
  });

  it("reads brackets and quotes within strings as text", () => {
    const { schema, ...rest } = toOutputSpec(z.object({ s: z.string() }));
    const value = { s: 'a } " { ] \\ ``` \n b' };
    const text = `The answer is ${JSON.stringify(value)}.`;
    expect(readOutput(answer(text), { ...rest, schema }, "prompt")).toMatchObject({ ok: true, value });
  });

  it("never takes a piece of a broken answer for the answer", () => {
    const any = toOutputSpec({ type: "object" });
    const reading = readOutput(answer('{"a": {"b": 1}, "c": [1, 2'), any, "prompt");
    expect(reading).toMatchObject({ ok: false, fault: "invalid" });
    expect(readOutput(answer("{'a': {\"b\": 1}}"), any, "prompt")).toMatchObject({ ok: false });
  });

  it.each([
    ["escaped quotes", `{"${'\\"'.repeat(500_000)}`],
    ["quotes", `{${'"'.repeat(1_000_001)}`],
    ["brackets", "{[".repeat(500_000)],
    ["fences", "```\n".repeat(250_000)],
  ])("ends on a broken megabyte of %s", (_kind, text) => {
    // Work that grows with the square of the text would go on for hours.
    expect(readOutput(answer(text), order, "prompt")).toMatchObject({ ok: false, fault: "invalid" });
  });

  it("gives the caller's value without the object around it", () => {
    const list = toOutputSpec(z.array(z.int()));
    expect(readOutput(answer('{"value": [1, 2]}'), list, "native")).toMatchObject({
      ok: true,
      value: [1, 2],
    });
    expect(readOutput(answer("[1, 2]"), list, "native")).toMatchObject({
      ok: false,
      problem: "at /: must be object",
    });
  });

  it.each<[string, ChatCompletion, string, string]>([
    ["cut off", answer('{"items": [', "length"), "truncated", "cut off"],
    ["refused", answer(null, "stop", { refusal: "I will not." }), "refused", "refused"],
    ["filtered", answer("", "content_filter"), "refused", "refused"],
    ["empty", answer("  \n"), "empty", "empty"],
    ["without a message", { id: "1", object: "x", model: "m", choices: [] }, "empty", "empty"],
    ["prose", answer("I do not know."), "invalid", "the answer is not JSON: "],
  ])("tells that an answer is %s", (_kind, body, fault, problem) => {
    const reading = readOutput(body, order, "native");
    expect(reading).toMatchObject({ ok: false, fault, problem: expect.stringContaining(problem) });
  });

  it("names each violated path and rule", () => {
    const text = JSON.stringify({ items: [{ price: -1 }, { price: "2" }], state: "lost" });
    expect(readOutput(answer(text), order, "native")).toEqual({
      ok: false,
      fault: "invalid",
      text,
      problem:
        "at /items/0/price: must be >= 0\nat /items/1/price: must be number\n" +
        'at /state: must be equal to one of the allowed values: ["open","done"]',
    });
    const closed = toOutputSpec(z.strictObject({ a: z.int() }));
    expect(readOutput(answer('{"b": 1}'), closed, "native")).toMatchObject({
      problem: "at /: must have required property 'a'\nat /: must NOT have additional properties: \"b\"",
    });
  });

  it("names at most ten, each of them short", () => {
    const check = compileSchema(toOutputSpec(z.object({ list: z.array(z.int()) })).schema);
    const lines = problemOf(check({ list: Array.from({ length: 50 }, () => "x") })).split("\n");
    expect(lines).toHaveLength(11);
    expect(lines[10]).toBe("and 40 more");
    const wide = compileSchema({ type: "object", properties: { a: { enum: ["x".repeat(5000)] } } });
    expect(problemOf(wide({ a: 1 })).length).toBeLessThan(400);
  });

  it("reads the call of the answer's name in mode tool, and a text where there is none", () => {
    const body = calling(["search", "{}"], ["order", JSON.stringify(GOOD)]);
    expect(readOutput(body, order, "tool")).toMatchObject({ ok: true, value: GOOD });
    expect(readOutput(calling(["search", "{}"]), order, "tool")).toMatchObject({ ok: false, fault: "empty" });
    expect(readOutput(answer(JSON.stringify(GOOD)), order, "tool")).toMatchObject({ ok: true });
  });
});

describe("the check of a schema", () => {
  it.each<[string, unknown]>([
    ["an unknown type", { type: "object", properties: { a: { type: "strnig" } } }],
    ["a reference to nothing", { type: "object", properties: { a: { $ref: "#/$defs/none" } } }],
    ["a broken pattern", { type: "object", properties: { a: { type: "string", pattern: "(" } } }],
  ])("refuses %s as an invalid request", (_kind, schema) => {
    const compiling = () => compileSchema(schema as Record<string, unknown>);
    expect(compiling).toThrow(InvalidRequestError);
    expect(compiling).toThrow("the schema of the answer cannot be used: ");
  });

  it("takes schemas with the same $id one after the other", () => {
    const schemas = [1, 2].map((minimum) => ({
      $id: "https://example.com/same",
      type: "object",
      properties: { a: { minimum } },
    }));
    const [one, two] = schemas.map((schema) => compileSchema(schema));
    expect([one?.({ a: 1 }), two?.({ a: 2 })]).toEqual([[], []]);
    expect(two?.({ a: 1 })).toHaveLength(1);
    const draft = { $id: "https://json-schema.org/draft/2020-12/schema", type: "object" };
    expect(() => compileSchema(draft)).toThrow(InvalidRequestError);
    expect(compileSchema({ type: "object", title: "after the draft's own name" })({})).toEqual([]);
  });

  it("is compiled once", () => {
    const schema = { type: "object", title: "compiled once" };
    expect(compileSchema(schema)).toBe(compileSchema({ ...schema }));
  });

  it("checks formats, and lets unknown ones pass", () => {
    const check = compileSchema({
      type: "object",
      properties: {
        day: { type: "string", format: "date" },
        at: { type: "string", format: "date-time" },
        mail: { type: "string", format: "email" },
        odd: { type: "string", format: "colour" },
      },
    });
    expect(check({ day: "2026-02-28", at: "2026-02-28T10:00:00+02:00", mail: "a@b.c", odd: "?" })).toEqual(
      [],
    );
    const faults = check({ day: "2026-02-30", at: "noon", mail: "nobody" });
    expect(faults.map(({ instancePath }) => instancePath)).toEqual(["/day", "/at", "/mail"]);
  });

  it("takes patterns with and without Unicode escapes", () => {
    const check = compileSchema({
      type: "object",
      properties: { a: { type: "string", pattern: "^\\p{L}+$" }, b: { type: "string", pattern: "^a\\-b$" } },
    });
    expect(check({ a: "é", b: "a-b" })).toEqual([]);
    expect(check({ a: "1", b: "ab" })).toHaveLength(2);
  });

  it("ends a pattern that would backtrack for ever", () => {
    const check = compileSchema({
      type: "object",
      properties: { a: { type: "string", pattern: "^(a+)+$" } },
    });
    expect(() => check({ a: `${"a".repeat(50)}!` })).toThrow("takes longer than 1 s");
    expect(check({ a: "aa" })).toEqual([]);
  });
});

describe("the messages of a repair round", () => {
  it("quote the answer and tell the problem", () => {
    expect(repairMessages(answer('{"a": 1}'), "at /a: must be string", "native", "order")).toEqual([
      { role: "assistant", content: '{"a": 1}' },
      {
        role: "user",
        content:
          "The answer does not fit the schema:\nat /a: must be string\nAnswer again with the whole answer, corrected.",
      },
    ]);
  });

  it("give every tool call its result", () => {
    const messages = repairMessages(
      calling(["search", "{}"], ["order", '{"a":1}']),
      "wrong",
      "tool",
      "order",
    );
    expect(messages.map(({ role }) => role)).toEqual(["assistant", "tool", "tool"]);
    expect(messages[1]).toMatchObject({
      tool_call_id: "call_0",
      content: "Not run. Call order with the answer.",
    });
    expect(messages[2]).toMatchObject({ tool_call_id: "call_1", content: expect.stringContaining("wrong") });
  });

  it("quote a call that is no JSON object as text, and an empty answer not at all", () => {
    const messages = repairMessages(calling(["order", '{"a": ']), "not JSON", "tool", "order");
    expect(messages.map(({ role }) => role)).toEqual(["assistant", "user"]);
    expect(messages[0]).toEqual({ role: "assistant", content: '{"a": ' });
    expect(repairMessages(answer(null), "empty", "native", "order").map(({ role }) => role)).toEqual([
      "user",
    ]);
  });
});
