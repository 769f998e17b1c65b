import { GlueError, InputError } from "../shared/errors.ts";

/** Options of waiting for a result. */
export interface WaitOptions {
  /** A signal that ends the waiting; the job goes on. Default: none. */
  signal?: AbortSignal;
  /** The longest wait, in milliseconds; default: until a worker ends the job, which it does at its deadline. */
  timeoutMs?: number;
}

/** The longest time of a timer. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** Returns a signal that aborts with the caller's, and with a GlueError `result_timeout` when the time is over. */
export function untilTimeout(
  what: string,
  { signal, timeoutMs }: WaitOptions,
): { signal: AbortSignal } & Disposable {
  signal?.throwIfAborted();
  const timeout = new AbortController();
  const timer = timeoutMs === undefined ? undefined : startTimer(timeout, what, timeoutMs);
  return {
    signal: signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

function startTimer(timeout: AbortController, what: string, timeoutMs: number): NodeJS.Timeout {
  if (!(timeoutMs >= 0)) throw new InputError(`timeoutMs must be at least 0, not ${timeoutMs}`);
  const error = new GlueError({
    code: "result_timeout",
    category: "cancelled",
    message: `${what} has not ended within ${timeoutMs} ms`,
    hint: "it goes on: call result() again, or cancel() it",
  });
  return setTimeout(() => timeout.abort(error), Math.min(timeoutMs, MAX_TIMEOUT_MS));
}
