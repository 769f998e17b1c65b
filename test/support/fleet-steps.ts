import { z } from "zod";
import { defineSteps, defineTool } from "../../src/index.ts";

export const lookUp = defineTool({
  name: "look_up",
  description: "Tells what it was handed.",
  parameters: z.object({}),
  execute: (_args, { context }) => context,
});

export const careful = defineSteps({
  name: "careful",
  stopWhen: ({ steps, context }) => steps.length >= Number(context.most),
});
