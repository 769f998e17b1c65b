import { logFault } from "../shared/fault-log.ts";
import type { Logger } from "../shared/logger.ts";

/** What an error that ended something is about; never a prompt, an answer or a key. */
export interface FailureReport {
  /** What ended: a job, a run, an activity, or this process. */
  kind: "job" | "run" | "activity" | "crash";
  /** As of a GlueError; the class of another error. */
  code: string;
  queue?: string | undefined;
  jobId?: string | undefined;
  /** `entry:model`, and its entry. */
  model?: string | undefined;
  provider?: string | undefined;
  runId?: string | undefined;
  workflow?: string | undefined;
  batchId?: string | undefined;
  tenant?: string | undefined;
  traceId?: string | undefined;
  attempts?: number | undefined;
}

/** Gets errors that ended something. Of other errors than GlueError the text may quote a request: pass on their class alone. */
export type ErrorListener = (error: unknown, report: FailureReport) => void;

const listeners = new Set<ErrorListener>();

/**
 * Calls a function for each job, run and activity that failed for good in this process; not for attempts that are repeated, nor for what was
 * cancelled. It ends when what is returned is disposed of. What the function throws is ignored.
 *
 * ```ts
 * using _ = onError((error, { code, jobId }) => pager.notify(code, jobId));
 * ```
 */
export function onError(listener: ErrorListener): Disposable {
  listeners.add(listener);
  return { [Symbol.dispose]: () => void listeners.delete(listener) };
}

/** Tells the listeners. */
export function reportError(error: unknown, report: FailureReport, logger?: Logger): void {
  for (const listener of listeners) {
    try {
      listener(error, report);
    } catch (fault) {
      if (logger) logFault(logger, (fault as Error).name, {}, "an error could not be reported", "warn");
    }
  }
}
