import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, WorkflowError } from "../../src/index.ts";
import { workflowSite } from "../support/workflow-site.ts";

const through = defineWorkflow({
  name: "through",
  input: z.unknown(),
  output: z.unknown(),
  run: async (ctx, input) => {
    const local = await ctx.run("local", () => input);
    const child = await ctx.child("child", echo, input);
    return [input, local, child, await ctx.waitFor("signal")];
  },
});

const echo = defineWorkflow({
  name: "echo",
  input: z.unknown(),
  output: z.unknown(),
  run: async (_ctx, input) => input,
});

test("values that look like references to blobs go through a run as they are", async () => {
  const { runs, host } = await workflowSite();
  await host([through, echo], 0);
  const digest = "0123456789abcdef".repeat(4);
  for (const value of [{ blob: "text" }, { blob: digest }, { blob: digest, bytes: 1 }]) {
    const run = await runs.start(through, value);
    await run.signal("signal", value);
    expect(await run.result()).toEqual([value, value, value, value]);
    const whole = await runs.start(echo, value);
    expect(await whole.result()).toEqual(value);
    const fork = await run.fork({ fromStep: "child" });
    await fork.signal("signal", value);
    expect(await fork.result()).toEqual([value, value, value, value]);
  }
});

test("types survive input, steps, children, signals, output and forks", async () => {
  const { runs, host } = await workflowSite();
  await host([through, echo], 0);
  const value = {
    at: new Date(5),
    big: 2n ** 70n,
    map: new Map([["a", new Set([1])]]),
    url: new URL("https://example.org/"),
    bytes: new Uint8Array([1, 2]),
    long: new Map([["text", "x".repeat(20_000)]]),
    $t: "mine",
  };
  const all = [value, value, value, value];
  const run = await runs.start(through, value, { runId: "typed" });
  await runs.start(through, { ...value, none: undefined }, { runId: "typed" });
  await expect(runs.start(through, { ...value, map: new Map() }, { runId: "typed" })).rejects.toMatchObject({
    code: "run_conflict",
  });
  await run.signal("signal", value);
  expect(await run.result()).toStrictEqual(all);
  const fork = await run.fork({ fromStep: "child", changes: { results: { local: value.map } } });
  await fork.signal("signal", value);
  expect(await fork.result()).toStrictEqual([value, value.map, value, value]);
});

test("what cannot be recorded is refused with its place, and not turned into null", async () => {
  const { runs, host } = await workflowSite();
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const faults = defineWorkflow({
    name: "faults",
    input: z.unknown(),
    output: z.unknown(),
    run: async (ctx) => {
      const messages: string[] = [];
      for (const wrong of [Number.NaN, { f: () => 1 }, cycle])
        messages.push(await ctx.run("bad", () => wrong).then(String, (error: Error) => error.message));
      try {
        ctx.metadata.set("share", 0 / 0);
      } catch (error) {
        messages.push((error as Error).message);
      }
      await ctx.sleep(1);
      return { messages, score: Number.NaN };
    },
  });
  await host([faults], 0);
  await expect((await runs.start(faults, null)).result()).rejects.toThrow(
    'the output of workflow "faults" cannot be kept: NaN at score',
  );
  const run = await runs.start(faults, null);
  await expect(runs.start(faults, { n: Number.NaN })).rejects.toMatchObject({ code: "not_serializable" });
  await expect(run.signal("x", () => 1)).rejects.toMatchObject({ code: "not_serializable" });
  await run.result().catch(() => {});
  const failed = (await run.steps())
    .filter(({ kind }) => kind === "local")
    .map(({ error }) => error?.message);
  expect(failed).toEqual([
    'the result of step "bad" cannot be kept: NaN',
    'the result of step "bad#2" cannot be kept: a function at f',
    'the result of step "bad#3" cannot be kept: a cycle at self',
  ]);
});

test("errors cross steps, children and runs with class name, code, causes and place, in replay too", async () => {
  const { runs, host } = await workflowSite();
  class CardError extends Error {
    override name = "CardError";
    readonly code = "card_declined";
  }
  const seen = (error: unknown) => {
    const { name, code, message, stack, cause } = error as WorkflowError & { cause: Error };
    return {
      name,
      code,
      message,
      place: stack?.includes("values.test.ts"),
      cause: [cause?.name, cause?.message],
    };
  };
  const paying = defineWorkflow({
    name: "paying",
    input: z.unknown(),
    output: z.unknown(),
    run: async (ctx) => {
      await ctx.run("pay", () => {
        throw new CardError("no money", { cause: new TypeError("limit", { cause: new Error("deep") }) });
      });
    },
  });
  const parent = defineWorkflow({
    name: "parent",
    input: z.unknown(),
    output: z.unknown(),
    run: async (ctx) => {
      const fault = await ctx.child("child", paying, null).catch((error: unknown) => error);
      await ctx.sleep(1);
      return [fault instanceof WorkflowError, seen(fault), (fault as { cause: Error }).cause.cause];
    },
  });
  await host([parent, paying], 0);
  const expected = {
    name: "CardError",
    code: "card_declined",
    message: "no money",
    place: true,
    cause: ["TypeError", "limit"],
  };
  const [isWorkflowError, crossed, deep] = (await (await runs.start(parent, null)).result()) as unknown[];
  expect([isWorkflowError, crossed]).toEqual([true, expected]);
  expect(deep).toMatchObject({ message: "deep" });
  const failure = await (await runs.start(paying, null)).result().catch((error: unknown) => error);
  expect(seen(failure)).toEqual(expected);
});
