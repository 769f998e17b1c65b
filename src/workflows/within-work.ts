import { AsyncLocalStorage } from "node:async_hooks";
import { InputError } from "../shared/errors.ts";

/** The local step whose work is under way. */
export const currentWork = new AsyncLocalStorage<string>();

/** What a step's work asks for is not asked for in a replay, which has the step's result: it would not be found again. */
export function refuseWithinWork(what: string): void {
  const outer = currentWork.getStore();
  if (outer === undefined) return;
  throw new InputError(
    `${what} is inside the work of step "${outer}"`,
    "a step's work is plain code: ask for the inner step beside it, and give its result to the work",
    "nested_step",
  );
}
