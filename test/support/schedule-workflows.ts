import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";

/** One call, which names its run. */
export const tick = defineWorkflow({
  name: "tick",
  input: z.object({}),
  output: z.string(),
  run: async (ctx) => (await ctx.complete("ask", `run ${ctx.runId}`)).finalResponse,
});
