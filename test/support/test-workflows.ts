import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";

const input = z.object({ topic: z.string(), steps: z.number().default(3) });

export const chain = defineWorkflow({
  name: "chain",
  input,
  output: z.array(z.string()),
  run: async (ctx, { topic, steps }) => {
    const answers: string[] = [];
    for (let n = 0; n < steps; n++) {
      const { finalResponse } = await ctx.complete("ask", `${topic} ${n}`);
      answers.push(finalResponse);
    }
    return answers;
  },
});
