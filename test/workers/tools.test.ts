import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { type CompletionResult, defineTool, InputError } from "../../src/index.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { add, charge } from "../support/tools.ts";

const MODULE = join(import.meta.dirname, "../support/tools.ts");

/** The simulator plays these turns for the prompt. */
function script(about: string, ...turns: object[]): string {
  return `${about}\n#sim ${JSON.stringify({ turns })}`;
}

const call = (name: string, args: object | string = {}) => ({ name, arguments: args });

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open();
  site.start("worker", "--module", MODULE);
});
afterAll(() => site[Symbol.asyncDispose]());

function turnsOf(about: string) {
  return site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(about));
}

function outcomesOf({ toolExecutionHistory }: CompletionResult) {
  return toolExecutionHistory.map(({ toolName, result, error }) => [toolName, result ?? error?.code]);
}

describe("the loop", () => {
  test("runs what the model calls and asks again with the results, until it answers", async () => {
    const glue = siteClient(site, { tools: [add] });
    const prompt = script(
      "loop",
      { toolCalls: [call("add", { a: 1, b: 2 })] },
      { toolCalls: [call("add", { a: 3 })] },
      { reply: "It is 4." },
    );
    const result = await glue.complete(prompt);
    expect(result).toMatchObject({ finalResponse: "It is 4.", finishReason: "stop", toolCallsMade: 2 });
    expect(result.toolExecutionHistory).toEqual([
      expect.objectContaining({ turn: 0, toolName: "add", arguments: { a: 1, b: 2 }, result: "3" }),
      expect.objectContaining({ turn: 1, toolName: "add", arguments: { a: 3 }, result: "4" }),
    ]);
    const turns = turnsOf("loop");
    expect(turns.map(({ turn, toolNames }) => [turn, toolNames])).toEqual([
      [0, ["add"]],
      [1, ["add"]],
      [2, ["add"]],
    ]);
    const prompts = turns.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
    expect(result.tokensUsed.prompt).toBe(prompts);
  });

  test("runs the calls of one turn side by side, and tells the model of each that went wrong", async () => {
    const glue = siteClient(site);
    const calls = [
      call("fail"),
      call("hang"),
      call("nobody", { x: 1 }),
      call("add", { a: "one" }),
      call("add", "{not json"),
      call("add", { a: 5, b: 5 }),
      call("charge", { customer: "Ada" }),
      call("shout", { times: 3 }),
      call("shout", { times: 300 }),
      call("shout", {}),
    ];
    const prompt = script("side by side", { toolCalls: calls }, { reply: "done" });
    const result = await glue.complete(prompt, { tools: ["add", "charge", "fail", "hang", "shout"] });
    expect(outcomesOf(result)).toEqual([
      ["fail", "tool_failed"],
      ["hang", "timeout"],
      ["nobody", "unknown_tool"],
      ["add", "invalid_arguments"],
      ["add", "invalid_arguments"],
      ["add", "10"],
      ["charge", '{"charged":"Ada"}'],
      ["shout", "é!é!é!"],
      ["shout", `${"é!".repeat(6)}é\n[cut off: 880 of 900 bytes left out]`],
      ["shout", "invalid_arguments"],
    ]);
    const [failed, , unknown, wrong] = result.toolExecutionHistory;
    expect(failed?.error?.message).toBe("RangeError: the shelf is empty");
    expect(unknown?.error?.message).toContain("there are: add, charge");
    expect(wrong).toMatchObject({
      arguments: { a: "one" },
      error: { message: expect.stringMatching(/^a: /) },
    });
  });

  test("has an end: after the last iteration the model answers without tools", async () => {
    const glue = siteClient(site, { tools: [add] });
    const again = { toolCalls: [call("add", { a: 1 })], reply: "more" };
    const result = await glue.complete(script("no end", again), { maxToolIterations: 2 });
    expect(result).toMatchObject({ toolCallsMade: 2, finalResponse: "more" });
    expect(turnsOf("no end").map(({ toolNames }) => toolNames)).toEqual([["add"], ["add"], []]);
  });

  test("leaves the calls to the caller on executeTools: false, of tools no worker has", async () => {
    const glue = siteClient(site);
    const own = defineTool({
      name: "own",
      description: "The caller's own.",
      parameters: z.object({ city: z.string() }),
      execute: () => "never run",
    });
    const prompt = script("by hand", { toolCalls: [call("own", { city: "Paris" })] });
    const result = await glue.complete(prompt, { tools: [own], executeTools: false });
    expect(result).toMatchObject({ finishReason: "tool_calls", finalResponse: "", toolCallsMade: 0 });
    expect(result.toolCalls).toEqual([
      { id: expect.stringMatching(/./), name: "own", arguments: { city: "Paris" } },
    ]);
    expect(result.rawResponse.choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: "own", arguments: '{"city":"Paris"}' } },
    ]);
  });

  test('executeTools "once" ends when the tools have run, and a conversation goes on from there', async () => {
    const glue = siteClient(site, { tools: [add] });
    const talk = glue.conversation();
    const prompt = script("once", { reply: "a sum", toolCalls: [call("add", { a: 2 })] }, { reply: "three" });
    const once = await talk.complete(prompt, { executeTools: "once" });
    expect(once).toMatchObject({ finishReason: "tool_calls", finalResponse: "a sum" });
    expect(outcomesOf(once)).toEqual([["add", "3"]]);
    expect(await talk.messages()).toMatchObject([
      { role: "user" },
      { role: "assistant", toolCalls: [{ name: "add" }] },
      { role: "tool", content: "3" },
    ]);
    expect((await talk.complete("And?")).finalResponse).toBe("three");
    const schema = { type: "object" };
    await expect(glue.complete("hello", { executeTools: "once", schema })).rejects.toThrow(/at executeTools/);
  });

  test("each call has attempts of its own", async () => {
    const glue = siteClient(site, { tools: [add] });
    const flaky = { error: "500", errorTimes: 2 };
    const prompt = script(
      "flaky",
      { ...flaky, toolCalls: [call("add", { a: 1 })] },
      { ...flaky, toolCalls: [call("add", { a: 2 })] },
      { ...flaky, reply: "after six faults" },
    );
    const result = await glue.complete(prompt, { maxAttempts: 3 });
    expect(result).toMatchObject({ finalResponse: "after six faults", toolCallsMade: 2, attempts: 7 });
  });

  test("a tool that no worker has makes the job wait, and says so", async () => {
    const glue = siteClient(site);
    const handle = await glue.enqueue("hello", { tools: ["teleport"], deadlineMs: 60_000 });
    await expect
      .poll(() => handle.status())
      .toMatchObject({
        state: "delayed",
        waitsFor: ["a worker with the tool teleport"],
      });
    await handle.cancel();
  });
});

describe("defineTool and tools", () => {
  const tool = { name: "t", description: "d", parameters: z.object({}), execute: () => 0 };

  test.each([
    ["a name with spaces", { ...tool, name: "my tool" }, /"my tool" is wrong at name/],
    ["no description", { ...tool, description: "" }, /wrong at description/],
    [
      "parameters JSON Schema cannot express",
      { ...tool, parameters: z.object({ at: z.date() }) },
      /wrong at parameters: .*Date/,
    ],
    ["parameters that are no object", { ...tool, parameters: z.string() as never }, /must be an object/],
    ["a timeout of 0", { ...tool, timeoutMs: 0 }, /wrong at timeoutMs/],
    ["an unknown option", { ...tool, idempotant: false }, /the tool "t" is wrong: .*"idempotant"/],
    ["no options", undefined as never, /the tool .*is wrong/],
    ["no parameters", { ...tool, parameters: null as never }, /wrong at parameters: must be a zod object/],
    [
      "parameters that are no JSON Schema",
      { ...tool, parameters: { type: "object", properties: { a: { type: "strng" } } } as never },
      /the tool "t" is wrong at parameters: .*properties\/a\/type/,
    ],
  ])("refuse %s", (_what, options, message) => {
    expect(() => defineTool(options)).toThrow(InputError);
    expect(() => defineTool(options)).toThrow(message);
  });

  test("two tools of one name are refused before Redis is asked", async () => {
    const glue = siteClient(site, { mode: "local" });
    const twin = defineTool({ ...tool, name: "add" });
    await expect(glue.complete("hello", { tools: [add, twin] })).rejects.toMatchObject({
      code: "duplicate_tool",
    });
    await expect(glue.complete("hello", { tools: ["add"], executeTools: false })).rejects.toThrow(
      /cannot be given by its name/,
    );
  });

  test("a client that works itself runs the tools that it is given", async () => {
    const glue = siteClient(site, { mode: "local", model: `${MODEL}-local`, queueGlobs: ["*-local"] });
    const result = await glue.complete(
      script("local", { toolCalls: [call("charge", { customer: "Bob" })] }, { reply: "ok" }),
      { tools: [charge] },
    );
    expect(outcomesOf(result)).toEqual([["charge", '{"charged":"Bob"}']]);
  });

  test.each([
    ["is not there", "./nowhere.ts", /nowhere.ts cannot be loaded/],
    ["exports nothing of use", "./site.ts", /site.ts exports no tools/],
  ])("a module that %s stops the worker with one clear line", async (_what, path, message) => {
    const { code, stderr } = await site.run(
      "worker",
      "--module",
      join(import.meta.dirname, "../support", path),
    );
    expect(code).toBe(3);
    expect(stderr).toMatch(message);
  });
});
