import { z } from "zod";
import { defineTool, defineWorkflow } from "../../src/index.ts";

/** What the workers of a soak run beside calls. */
export const double = defineTool({
  name: "double",
  description: "Twice a number",
  parameters: z.object({ n: z.number() }),
  execute: async ({ n }) => n * 2,
});

export const leaf = defineWorkflow({
  name: "soak-leaf",
  input: z.object({ n: z.number() }),
  output: z.number(),
  run: async (ctx, { n }) => ctx.run("add", () => n + 1),
});

/** A call, local work, a child, a sleep and a signal. */
export const tree = defineWorkflow({
  name: "soak-tree",
  input: z.object({ n: z.number() }),
  output: z.number(),
  run: async (ctx, { n }) => {
    await Promise.all([ctx.complete("one", `one of ${n}`), ctx.complete("two", `two of ${n}`)]);
    const sum = await ctx.child("leaf", leaf, { n });
    await ctx.sleep("nap", 200);
    await ctx.waitFor("go", { timeoutMs: 30_000 });
    return sum;
  },
});

/** What a schedule starts. */
export const tick = defineWorkflow({
  name: "soak-tick",
  input: z.object({}),
  output: z.string(),
  run: async (ctx) => (await ctx.complete("tick", "tick")).finalResponse,
});
