import { z } from "zod";
import type { LocalOptions, Workflow } from "./context.ts";
import { currentContext } from "./run-context.ts";
import { defineWorkflow } from "./workflow.ts";

/** Options of a task. */
export interface TaskOptions extends LocalOptions {}

/** Options of a flow. */
export interface FlowOptions {
  /** The version of the code, from 1; default 1. */
  version?: number;
}

/**
 * Returns a function that is a recorded step wherever it is called inside a workflow, named `name`; elsewhere it is just
 * called. Its result is JSON.
 *
 * ```ts
 * const fetchPage = task("fetch", async (url: string) => (await fetch(url)).text(), { retry: { maxAttempts: 3 } });
 * const read = flow("read", async (urls: string[]) => Promise.all(urls.map((url) => fetchPage(url))));
 * ```
 */
export function task<Args extends unknown[], Result>(
  name: string,
  work: (...args: Args) => Result | Promise<Result>,
  options: TaskOptions = {},
): (...args: Args) => Promise<Result> {
  return async (...args) => {
    const context = currentContext.getStore();
    return context ? context.run(name, () => work(...args), options) : work(...args);
  };
}

/** Returns a workflow of any JSON input and output; what it calls through `task` is recorded. */
export function flow<Input, Output>(
  name: string,
  run: (input: Input) => Promise<Output>,
  { version }: FlowOptions = {},
): Workflow<Input, Output> {
  return defineWorkflow({
    name,
    version,
    input: z.any() as z.ZodType<Input, Input>,
    output: z.any() as z.ZodType<Output>,
    run: (_ctx, input) => run(input),
  });
}
