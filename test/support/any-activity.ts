import { z } from "zod";
import { type ActivityContext, type ActivityOptions, defineActivity } from "../../src/index.ts";
import { anyWorkflow } from "./any-workflow.ts";

type More = Partial<Pick<ActivityOptions<unknown, unknown>, "retry" | "timeoutMs" | "heartbeatMs">>;

/** An activity of any input and output. */
export const anyActivity = (
  run: (input: never, context: ActivityContext) => unknown,
  more: More = {},
  name = "work",
) => defineActivity({ name, input: z.any(), output: z.any(), run: run as never, ...more });

/** A run of nothing but the activity `work`. */
export const one = (input: unknown = null) => anyWorkflow("one", (ctx) => ctx.activity("work", input));

/** Returns what a promise fails with. */
export const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => {
      throw new Error("it did not fail");
    },
    (error) => error,
  );
