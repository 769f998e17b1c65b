import { z } from "zod";
import { defineWorkflow, type WorkflowContext } from "../../src/index.ts";

/** A workflow of any input and output. */
export function anyWorkflow<T>(
  name: string,
  run: (ctx: WorkflowContext, input: Record<string, number>) => Promise<T>,
) {
  return defineWorkflow({
    name,
    input: z.record(z.string(), z.number()),
    output: z.any() as z.ZodType<T>,
    run,
  });
}

/** A completion that answers `said …`. */
export const say = (ctx: WorkflowContext, name: string, text = name) =>
  ctx
    .complete(name, `${text}\n#sim {"reply": ${JSON.stringify(`said ${text}`)}}`)
    .then((r) => r.finalResponse);
