import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { configureTracing, defineActivity, defineTool, defineWorkflow } from "../../src/index.ts";

export { add } from "./tools.ts";

/** Ends this process by SIGKILL, once per name; what it did so far is with the collector. */
async function dieOnce(name: string): Promise<void> {
  const mark = join(process.env.MARKS ?? "", name);
  if (existsSync(mark)) return;
  writeFileSync(mark, "");
  await (await configureTracing()).flush();
  process.kill(process.pid, "SIGKILL");
}

export const killer = defineTool({
  name: "killer",
  description: "Loses its worker the first time.",
  parameters: z.object({}),
  execute: async () => {
    await dieOnce("tool");
    return "alive";
  },
});

export const fails = defineTool({
  name: "fails",
  description: "Fails.",
  parameters: z.object({}),
  execute: () => {
    throw new RangeError("canary-of-a-tool");
  },
});

export const measure = defineActivity({
  name: "measure",
  input: z.string(),
  output: z.number(),
  run: async (text) => text.length,
});

const child = defineWorkflow({
  name: "traced-child",
  input: z.string(),
  output: z.string(),
  run: async (ctx, topic) => (await ctx.complete("ask", topic)).finalResponse,
});

export const traced = defineWorkflow({
  name: "traced",
  input: z.string(),
  output: z.string(),
  run: async (ctx, topic) => {
    await ctx.complete("first", `${topic} 1`);
    await ctx.run("local", () => dieOnce("run"));
    await ctx.activity(measure, topic);
    await ctx.child("child", child, `${topic} 2`);
    return "done";
  },
});

export const broken = defineWorkflow({
  name: "broken",
  input: z.string(),
  output: z.string(),
  run: async () => {
    throw new Error("canary-of-a-workflow");
  },
});

export { child };
