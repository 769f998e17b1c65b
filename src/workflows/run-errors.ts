import { GlueError, InputError, NonRetryableError, WorkflowError } from "../shared/errors.ts";

export function deadlineError(): GlueError {
  return new GlueError({
    code: "deadline_exceeded",
    category: "cancelled",
    message: "the run did not end before its deadline",
  });
}

export function signalTimeout(signal: string, step: string): GlueError {
  return new GlueError({
    code: "signal_timeout",
    category: "cancelled",
    message: `no signal "${signal}" came in time`,
    context: { step },
  });
}

/** @param what that it does not take any more */
export function runOver(runId: string, status: string, what: string): GlueError {
  return new GlueError({
    code: "run_over",
    category: "input",
    message: `run ${runId} has ended (${status}): it takes no ${what}`,
  });
}

export function stepTimeout(step: string, timeoutMs: number): GlueError {
  return new WorkflowError({
    code: "step_timeout",
    message: `step "${step}" took longer than ${timeoutMs} ms`,
    context: { step },
  });
}

export function heartbeatTimeout(step: string, heartbeatMs: number): GlueError {
  return new WorkflowError({
    code: "heartbeat_timeout",
    message: `step "${step}" gave no heartbeat for ${heartbeatMs} ms, try after try`,
    hint: "it hangs, or calls heartbeat() too seldom",
    context: { step },
  });
}

export function tooLarge(what: string, bytes: number, maxBytes: number): GlueError {
  return new InputError(
    `${what} has ${bytes} bytes as JSON; at most ${maxBytes} are allowed`,
    "keep what is large elsewhere, and give its place",
    "too_large",
  );
}

/** Whether work is not tried again after what it threw. */
export function isFinal(error: unknown): boolean {
  // From another step it comes back as a WorkflowError of this name.
  if (error instanceof Error && error.name === NonRetryableError.name) return true;
  return error instanceof InputError && error.code === "nested_step";
}

export function stepLost(step: string): GlueError {
  return new WorkflowError({
    code: "step_lost",
    message: `step "${step}" held its worker up until it lost the run, three times`,
    hint: "it blocks the event loop: do its work in a worker thread or a process of its own, or in parts",
    context: { step },
  });
}

export function workerLost(step?: string): GlueError {
  const what = step === undefined ? "its function" : `step "${step}"`;
  return new WorkflowError({
    code: "worker_lost",
    message: `${what} was under way when ten workers were lost: it counts as their cause`,
    hint: "see the workers' logs: they ran out of memory, or were killed",
    context: step === undefined ? {} : { step },
  });
}

const MAX_MESSAGE_CHARS = 1000;

/** Errors of the workflow's own code keep their class's name, code, text, place and causes: the code's author reads them. */
export function asWorkflowError(error: unknown): GlueError {
  if (error instanceof GlueError) return error;
  const { name, message } = error instanceof Error ? error : { name: typeof error, message: textOf(error) };
  const { code, stack, cause } = (error instanceof Error ? error : {}) as Partial<Error & { code: unknown }>;
  const known = new WorkflowError(
    {
      message: message.slice(0, MAX_MESSAGE_CHARS) || name,
      context: { errorName: name },
      ...(typeof code === "string" && code !== "" && { code }),
    },
    { cause },
  );
  if (error instanceof Error) known.name = name;
  if (stack !== undefined) known.stack = stack;
  return known;
}

/** Some objects have no text. */
function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return "";
  }
}

/** What a function gets that does something after `ctx.continueAsNew`. */
export function notLast(): InputError {
  return new InputError(
    "the function went on after ctx.continueAsNew",
    "make it the last thing: return ctx.continueAsNew(input), outside of branches",
    "continue_not_last",
  );
}
