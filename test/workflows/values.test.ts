import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
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
