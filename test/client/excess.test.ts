import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineTool } from "../../src/index.ts";
import { wholeAnswer } from "../support/odd-answers.ts";
import { type OddAnswer, type OddSite, oddSite } from "../support/odd-provider.ts";
import { failureOf } from "../support/provider.ts";

/* Answers with more in them than anybody means. */

const DEEP = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
let site: OddSite;
/** The messages of the latest call of a prompt that has tools. */
const answers = new Map<string, () => OddAnswer>();

beforeAll(async () => {
  site = await oddSite(({ prompt, ofPrompt }) => (ofPrompt === 1 && answers.get(prompt)?.()) || "fine");
});
afterAll(() => site[Symbol.asyncDispose]());

const fields = (message: Record<string, unknown>, finish_reason = "stop"): OddAnswer => ({
  status: 200,
  body: wholeAnswer("openai", { message, choice: { finish_reason } }),
});
const call = (n: number, args: string) => ({
  id: `call_${n}`,
  type: "function",
  function: { name: "note", arguments: args },
});

test("an answer that is 100,000 levels deep is asked for once more", async () => {
  answers.set("deep", () => ({ status: 200, body: `{"choices":${DEEP}}` }));
  expect(await site.glue.complete("deep")).toMatchObject({ finalResponse: "fine", attempts: 2 });
});

test("so is a structured answer, whose model is told that it is no JSON", async () => {
  answers.set("structured", () => fields({ content: `{"a":${DEEP}}` }));
  const error = await failureOf(
    site.glue.structuredComplete("structured", { schema: z.object({ a: z.unknown() }) }),
  );
  expect(error).toMatchObject({ code: "structured_output" });
});

test("of 200 tool calls in one answer the first 128 are run, 32 at a time, and none with arguments too deep or too long", async () => {
  let running = 0;
  let most = 0;
  const ran: string[] = [];
  const note = defineTool({
    name: "note",
    description: "Notes a text.",
    parameters: z.object({ text: z.string() }),
    execute: async ({ text }) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      ran.push(text.slice(0, 10));
      return "x".repeat(70_000);
    },
  });
  const texts = Array.from({ length: 200 }, (_, n) => JSON.stringify({ text: `text ${n}` }));
  texts[3] = `{"text":${DEEP}}`;
  texts[100] = JSON.stringify({ text: "y".repeat(2 ** 20) });
  answers.set("many", () =>
    fields({ content: null, tool_calls: texts.map((text, n) => call(n, text)) }, "tool_calls"),
  );
  const result = await site.glue.complete("many", { tools: [note] });
  const codes = (from: number, to?: number) =>
    new Set(result.toolExecutionHistory.slice(from, to).map(({ error }) => error?.code));
  expect(result.toolExecutionHistory).toHaveLength(200);
  expect(ran).toHaveLength(99);
  expect(most).toBeLessThanOrEqual(32);
  expect(codes(3, 4)).toEqual(new Set(["invalid_arguments"]));
  expect(codes(100, 128)).toEqual(new Set(["too_many_bytes"]));
  expect(codes(128)).toEqual(new Set(["too_many_calls"]));
  expect(result.toolExecutionHistory[0]?.result?.length).toBeLessThan(50_000);
});
