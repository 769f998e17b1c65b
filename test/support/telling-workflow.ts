import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";

/** Asks what it is given, and fails with the answer. */
export const telling = defineWorkflow({
  name: "telling",
  input: z.string(),
  output: z.string(),
  run: async (ctx, question) => {
    throw new Error((await ctx.complete("ask", question)).finalResponse);
  },
});
