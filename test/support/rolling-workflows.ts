import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";

/** A workflow as it was before its code changed. */
export const deployed = defineWorkflow({
  name: "deployed",
  input: z.record(z.string(), z.number()),
  output: z.any(),
  run: async (ctx) => {
    await ctx.run("step 1", () => 1);
    await ctx.waitFor("go");
    return 1;
  },
});
