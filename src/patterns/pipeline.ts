import { z } from "zod";
import { agent, definePattern, secondOfName } from "./pattern.ts";

const stage = z.object({
  name: z
    .string()
    .regex(/^[^#/\n]{1,100}$/, "must be up to 100 characters without # and /")
    .describe("of the stage, unique"),
  agent: agent.describe("does the stage's work"),
});

/** The pattern with stages in a row, each of which works on what the one before wrote: research, outline, draft, edit. */
export const pipeline = definePattern({
  name: "pipeline",
  when: "The steps of the work are known, and each builds on the one before.",
  calls: "stages",
  config: z.object({
    stages: z.array(stage).min(1, "must have at least one stage").describe("in the order of the work"),
  }),
  check({ stages }, refuse) {
    const twice = secondOfName(stages);
    if (twice >= 0) refuse(`stages.${twice}.name`, "is the name of an earlier stage");
  },
  async run(_ctx, { input, stages }, ask) {
    let text = input;
    for (const { name, agent } of stages) text = await ask(name, agent, text);
    return {
      finalOutput: text,
      iterations: stages.length,
      metadata: { stages: stages.map(({ name }) => name) },
    };
  },
});
