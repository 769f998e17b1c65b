import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";

export { leaf, mixed } from "../support/chaos-workflows.ts";
export { add } from "../support/tools.ts";

/** What a schedule starts. */
export const tick = defineWorkflow({
  name: "tick",
  input: z.object({}),
  output: z.string(),
  run: async (ctx) => (await ctx.complete("ask", `${ctx.runId} ask\n#sim {"reply": "ticked"}`)).finalResponse,
});
