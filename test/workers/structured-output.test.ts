import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { RequestConfig, StructuredOutputError } from "../../src/index.ts";
import { failureOf } from "../support/provider.ts";
import { CLAUDE_MODEL, MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { add } from "../support/tools.ts";

const personSchema = z.object({
  name: z.string().min(2).describe("the full name"),
  age: z.int().min(0).max(150),
  email: z.string().optional(),
  nickname: z.string().nullable(),
  tags: z.array(z.enum(["friend", "colleague"])).max(3),
  home: z.object({ street: z.string(), zip: z.string().regex(/^\d{5}$/) }),
  contact: z.union([z.object({ phone: z.string() }), z.object({ fax: z.string() })]),
});
type Person = z.infer<typeof personSchema>;
const ADA: Person = {
  name: "Ada",
  age: 36,
  nickname: null,
  tags: ["friend"],
  home: { street: "Main", zip: "12345" },
  contact: { phone: "1" },
};
const MISFIT = { json: { ...ADA, age: 200, home: { street: "Main", zip: "x" } } };

const DIALECTS = [
  ["OpenAI's dialect", MODEL],
  ["Anthropic's dialect", CLAUDE_MODEL],
] as const;
const MODES = ["native", "tool", "prompt"] as const;

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open();
  site.start("worker", "--module", join(import.meta.dirname, "../support/tools.ts"));
});
afterAll(() => site[Symbol.asyncDispose]());

function script(about: string, ...turns: object[]): string {
  return `${about}\n#sim ${JSON.stringify({ turns })}`;
}

/** The answers of the provider to the question that begins so; repairs have words of their own. */
function calls() {
  return site.simulator.journal.entries();
}

/** One turn that gives a value in the words of the mode. */
function answer(mode: (typeof MODES)[number], value: object) {
  return mode === "prompt"
    ? { reply: `Here it is:\n\`\`\`json\n${JSON.stringify(value)}\n\`\`\`` }
    : { json: value };
}

describe.each(DIALECTS)("%s", (_name, model) => {
  test("what zod takes beyond its JSON Schema is paid once; what it refuses beyond that fails at the caller", async () => {
    const glue = siteClient(site, { model });
    const before = calls().length;
    const schema = z.object({ a: z.string().regex(/^abc$/i), b: z.coerce.number(), c: z.int().catch(7) });
    const options = { schema, outputMode: "prompt" } as const;
    const prompt = script("loosely", answer("prompt", { a: "ABC", b: "5", c: "no" }));
    const handle = await glue.enqueue(prompt, options);
    expect((await handle.result()).output).toEqual({ a: "ABC", b: 5, c: 7 });
    expect((await glue.handle(handle.id).result()).output).toEqual({ a: "ABC", b: "5", c: "no" });
    expect(calls()).toHaveLength(before + 1);
    const strict = { schema: z.object({ a: z.string().refine((text) => text === "x", "must be x") }) };
    const refused = await failureOf(glue.complete(script("refined", answer("native", { a: "y" })), strict));
    expect(refused).toBeInstanceOf(StructuredOutputError);
    expect(refused).toMatchObject({ rejected: { problem: "at /a: must be x" } });
    const { jobId = "" } = (refused as StructuredOutputError).context;
    expect((await glue.handle(String(jobId)).result()).output).toEqual({ a: "y" });
    const throwing = { schema: z.object({ a: z.string().transform((text) => JSON.parse(text)) }) };
    const thrown = await failureOf(glue.complete(script("threw", answer("native", { a: "{" })), throwing));
    expect(thrown).toMatchObject({ rejected: { problem: expect.stringContaining("SyntaxError") } });
    expect(calls()).toHaveLength(before + 3);
  });

  test.each(MODES)("mode %s: a fitting answer at once, and a misfit repaired", async (outputMode) => {
    const glue = siteClient(site, { model });
    const before = calls().length;
    const options = { schema: personSchema, outputMode };
    const person: Person = await glue.structuredComplete(script("at once", answer(outputMode, ADA)), options);
    expect(person).toEqual(ADA);
    expect(calls()).toHaveLength(before + 1);

    const repaired = script("repaired", answer(outputMode, MISFIT.json), answer(outputMode, ADA));
    const result = await glue.complete(repaired, options);
    expect(result.output).toEqual(ADA);
    expect(calls()).toHaveLength(before + 3);
    const [first, second] = calls().slice(-2);
    expect(result.tokensUsed.prompt).toBe((first?.promptTokens ?? 0) + (second?.promptTokens ?? 0));
    expect(second?.turn).toBe(1);
  });

  test("no fitting answer: an error with the last text, after maxRepairs rounds", async () => {
    const glue = siteClient(site, { model });
    const before = calls().length;
    const failing = glue.complete(script("never", MISFIT), { schema: personSchema, maxRepairs: 1 });
    const error = await failureOf(failing);
    expect(error).toBeInstanceOf(StructuredOutputError);
    const { rejected, message } = error as StructuredOutputError;
    expect(JSON.parse(rejected?.text ?? "")).toEqual(MISFIT.json);
    expect(rejected?.problem).toMatch(/at \/age: .*150\nat \/home\/zip: /);
    expect(message).not.toContain("Main");
    expect(calls()).toHaveLength(before + 2);
  });

  test("roots that are no object come and go", async () => {
    const glue = siteClient(site, { model });
    const list = script("a list", { json: { value: ["a", "b"] } });
    expect(await glue.structuredComplete(list, { schema: z.array(z.string()) })).toEqual(["a", "b"]);
  });

  test("records, which no vendor takes natively as they are", async () => {
    const glue = siteClient(site, { model });
    const schema = z.object({ ages: z.record(z.string(), z.int()) });
    const output = await glue.structuredComplete(script("records", { json: { ages: { Ada: 36 } } }), {
      schema,
    });
    expect(output).toEqual({ ages: { Ada: 36 } });
  });

  test.each(MODES)("mode %s beside tools: the tools first, then the answer", async (outputMode) => {
    const glue = siteClient(site, { model, tools: [add] });
    const toolCalls = [{ name: "add", arguments: { a: 20, b: 22 } }];
    const last =
      outputMode === "tool"
        ? { toolCalls: [{ name: "answer", arguments: { sum: 42 } }] }
        : answer(outputMode, { sum: 42 });
    const result = await glue.complete(script("tools first", { toolCalls }, last), {
      schema: z.object({ sum: z.number() }),
      outputMode,
    });
    expect(result).toMatchObject({ output: { sum: 42 }, toolCallsMade: 1 });
  });

  test("an answer cut off at its length, a refusal: each says what to do", async () => {
    const glue = siteClient(site, { model });
    const schema = z.object({ a: z.string() });
    const before = calls().length;
    const cut = script("cut off", { json: { a: "x" }, finish: "length" });
    expect(await failureOf(glue.complete(cut, { schema, maxTokens: 20 }))).toMatchObject({
      name: "StructuredOutputError",
      message: expect.stringContaining("cut off at its limit of 20 tokens"),
      hint: expect.stringContaining("maxTokens"),
      rejected: { text: expect.stringContaining("x") },
    });
    expect(calls(), "it is not paid for again").toHaveLength(before + 1);
    const refused = glue.complete(script("refused", { reply: "no", finish: "content_filter" }), { schema });
    expect(await failureOf(refused)).toMatchObject({ hint: expect.stringContaining("refused") });
  });
});

test("an answer cut off at a limit that nobody has set is asked for once more, as long as the model allows", async () => {
  const glue = siteClient(site, { model: "claude:claude-long" });
  const schema = z.object({ a: z.string() });
  const before = calls().length;
  const cut = script("cut again", { json: { a: "x" }, finish: "length" });
  const error = await failureOf(glue.complete(cut, { schema }));
  expect(error).toMatchObject({ message: expect.stringContaining("its limit of 32000 tokens") });
  expect(calls()).toHaveLength(before + 2);
});

test("the caller's own rules have the last word, and transforms shape the value", async () => {
  const glue = siteClient(site);
  const even = z.object({ n: z.int().refine((n) => n % 2 === 0, "must be even") });
  const error = await failureOf(glue.complete(script("odd", { json: { n: 3 } }), { schema: even }));
  expect(error).toBeInstanceOf(StructuredOutputError);
  expect((error as StructuredOutputError).rejected?.problem).toBe("at /n: must be even");
  const trimmed = z.object({ word: z.string().trim() });
  expect(
    await glue.structuredComplete(script("trim", { json: { word: " a " } }), { schema: trimmed }),
  ).toEqual({
    word: "a",
  });
});

test("another process reads the value by the job's id; a JSON Schema needs no zod", async () => {
  const glue = siteClient(site);
  const schema = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
  const handle = await glue.enqueue(script("by id", { json: { n: 1 } }), { schema });
  const reopened = siteClient(site).handle(handle.id, {
    schema: z.object({ n: z.number().transform(String) }),
  });
  expect((await reopened.result()).output).toEqual({ n: "1" });
});

test("a RequestConfig brings its schema", async () => {
  const config = new RequestConfig(script("config", { json: { n: 4 } }), {
    schema: z.object({ n: z.int() }),
  });
  const { n }: { n: number } = await siteClient(site).structuredComplete(config);
  expect(n).toBe(4);
});

test("without a script the simulator makes up an answer of any schema", async () => {
  const glue = siteClient(site);
  const person = await glue.structuredComplete("who?", { schema: personSchema });
  expect(personSchema.parse(person)).toEqual(person);
});

test.each([
  ["what JSON cannot hold", { schema: z.object({ at: z.date() }) }, /at \/at|at \/properties\/at/],
  ["options without a schema", { maxRepairs: 1 }, /maxRepairs: there is no schema/],
  ["a name with spaces", { schema: personSchema, schemaName: "my answer" }, /at name/],
])("%s is refused before Redis", async (_what, options, message) => {
  await expect(siteClient(site).complete("hello", options as object)).rejects.toThrow(message);
});
