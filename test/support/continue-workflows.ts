import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";

/** Asks once in each part, and goes on as new until none is left. */
export const countdown = defineWorkflow({
  name: "countdown",
  input: z.object({ left: z.number(), done: z.array(z.string()).default([]) }),
  output: z.array(z.string()),
  run: async (ctx, { left, done }) => {
    await ctx.complete("ask", "same question");
    const parts = [...done, `part ${left}`];
    return left === 0 ? parts : ctx.continueAsNew({ left: left - 1, done: parts });
  },
});
