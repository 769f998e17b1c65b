import { expect, inject, test } from "vitest";
import { z } from "zod";
import { Agent, defineTool, defineWorkflow, InputError } from "../../src/index.ts";
import { createTestEnvironment, type TestEnvironmentOptions } from "../../src/testing/index.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { testRedis } from "../support/redis.ts";

const DAY = 86_400_000;
const environment = (options: TestEnvironmentOptions) =>
  createTestEnvironment({ redisUrl: `unix://${inject("redisSocket")}`, ...options });

test("sleeps, timeouts and deadlines pass at once, in their order, with the time that they would have taken", async () => {
  const child = anyWorkflow("child", async (ctx) => {
    await ctx.sleep(3 * DAY);
    return ctx.now();
  });
  const reminders = anyWorkflow("reminders", async (ctx) => {
    const startedAt = ctx.now();
    const days = () => Math.floor((ctx.now() - startedAt) / DAY);
    const seen: unknown[] = [];
    const beside = ctx
      .child("beside", child, {})
      .then((at) => seen.push(["child", Math.floor((at - startedAt) / DAY)]));
    await ctx.sleep("first", DAY);
    seen.push(["slept", days()]);
    await ctx.run("work", () => seen.length);
    await ctx
      .waitFor("paid", { timeoutMs: DAY })
      .catch((error: { code: string }) => seen.push([error.code, days()]));
    await ctx.sleep(10 * DAY);
    await beside;
    return [...seen, days()];
  });
  await using env = await environment({ workflows: [reminders, child] });
  const startedAt = performance.now();
  expect(await env.run(reminders, {})).toEqual([["slept", 1], ["signal_timeout", 2], ["child", 3], 12]);
  await expect(env.run(reminders, {}, { deadlineMs: 5 * DAY })).rejects.toMatchObject({
    code: "deadline_exceeded",
  });
  expect(performance.now() - startedAt).toBeLessThan(60_000);
});

test("a test says itself how much time passes, and what happens in between", async () => {
  const order = anyWorkflow("order", async (ctx) => {
    const paid = await ctx.waitFor<boolean>("paid", { timeoutMs: 2 * DAY }).catch(() => false);
    if (paid) await ctx.sleep(DAY);
    return paid ? "shipped" : "cancelled";
  });
  await using env = await environment({ workflows: [order] });
  const [late, early] = [await env.start(order, {}), await env.start(order, {})];
  const before = env.now();
  await env.skipTime(1.5 * DAY);
  expect(env.now() - before).toBeGreaterThanOrEqual(1.5 * DAY);
  expect((await late.status()).state).toBe("running");
  await early.signal("paid", true);
  await env.skipTime(0.6 * DAY);
  expect(await late.result()).toBe("cancelled");
  expect((await early.status()).state).toBe("running");
  expect(await env.result(early)).toBe("shipped");
  await expect(env.skipTime(-1)).rejects.toThrow("at least 0");
});

test("models of any provider answer by lists and functions; tools run; requests are told", async () => {
  const stock = defineTool({
    name: "stock",
    description: "Counts.",
    parameters: z.object({ article: z.string() }),
    execute: ({ article }) => `${article}: 12`,
  });
  const clerk = new Agent({
    name: "clerk",
    description: "d",
    systemPrompt: "You count.",
    model: "anthropic:claude-sonnet-4-5",
    tools: [stock],
  });
  const shop = anyWorkflow("shop", async (ctx) => {
    const first = await ctx.complete("first", "how are you?", { model: "openai:gpt-4o-mini" });
    const second = await ctx.structured("second", "as data", { schema: z.object({ n: z.number() }) });
    const third = await ctx.agent("third", clerk, "count apples");
    return [first.finalResponse, second, third.finalResponse];
  });
  await using env = await environment({
    workflows: [shop],
    tools: [stock],
    models: {
      "openai:gpt-4o-mini": [{ error: "500" }, "fine"],
      "claude-*": ({ toolResults, system, toolNames }) =>
        toolResults.length === 0
          ? { toolCalls: [{ name: toolNames[0] ?? "", arguments: { article: "apples" } }] }
          : `${system} ${toolResults.join()}`,
      "*": () => ({ json: { n: 7 } }),
    },
  });
  expect(await env.run(shop, {})).toEqual(["fine", { n: 7 }, "You count. apples: 12"]);
  expect(env.requests.map(({ model }) => model)).toEqual([
    ...["gpt-4o-mini", "gpt-4o-mini", "test"],
    ...Array(2).fill("claude-sonnet-4-5"),
  ]);
});

test.each([
  ["an empty list", { "*": [] }, "has 0 answers, and a further one was asked for"],
  ["another model", { "gpt-5": ["a"] }, 'no script for model "test"'],
  [
    "a function that throws",
    {
      "*": () => {
        throw new RangeError("mine");
      },
    },
    "mine",
  ],
  ["a promise", { "*": (async () => "a") as never }, "gave no answer"],
])("%s: the run fails with what is wrong with the script", async (_what, models, says) => {
  const ask = anyWorkflow("ask", (ctx) => ctx.complete("ask", "hello"));
  await using env = await environment({ workflows: [ask], models });
  await expect(env.run(ask, {})).rejects.toThrow(says);
  expect(env.requests).toHaveLength(1);
});

test("quiet times and throttles of runs pass at once", async () => {
  const base = anyWorkflow("quiet", async (ctx) => ctx.now());
  const quiet = defineWorkflow({ ...base, debounce: { periodMs: DAY } });
  const slow = defineWorkflow({ ...base, name: "slow", throttle: { limit: 1, periodMs: DAY } });
  await using env = await environment({ workflows: [quiet, slow] });
  expect(await env.run(quiet, { n: 1 })).toEqual(expect.any(Number));
  await env.run(slow, { n: 1 });
  expect(await env.run(slow, { n: 2 })).toEqual(expect.any(Number));
});

test("an environment leaves nothing behind, and knows no other one", async () => {
  const redis = testRedis();
  // Other test files are at work in the same Redis.
  const count = async () => (await redis.keys("*left-behind*")).length;
  const ask = anyWorkflow("ask", async (ctx) => (await ctx.complete("ask", "hello")).finalResponse);
  {
    await using one = await environment({ workflows: [ask], models: ["one"] });
    await using other = await environment({ workflows: [ask], models: ["other"] });
    const ids = { runId: "left-behind" };
    expect(await Promise.all([one.run(ask, {}, ids), other.run(ask, {}, ids)])).toEqual(["one", "other"]);
    expect(await count()).toBeGreaterThan(0);
  }
  expect(await count()).toBe(0);
  redis.disconnect();
  await expect(environment({ models: { a: 1 } as never })).rejects.toThrow(InputError);
});
