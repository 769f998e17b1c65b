import { z } from "zod";
import { defineWorkflow, lengthGuardrail } from "../../src/index.ts";

export const short = lengthGuardrail({ name: "short", maxChars: 60 });

/** Asks one question, which may not be long. */
export const guarded = defineWorkflow({
  name: "guarded",
  input: z.string(),
  output: z.string(),
  guardrails: [short],
  run: async (ctx, question) => (await ctx.complete("ask", question)).finalResponse,
});
