import { toErrorRecord } from "../shared/error-record.ts";
import type { EndedEntry } from "../store/run-journal.ts";
import type { Execution } from "./execution.ts";
import { signalTimeout } from "./run-errors.ts";
import type { OpenStep } from "./step.ts";

/* Sleeps, and waits for signals that have a timeout. */

/** Returns the ends of those whose time has come, to be written down. */
export function dueEntries(execution: Execution, now: number): EndedEntry[] {
  const due = timed(execution).filter((step) => (step.asked?.until ?? 0) <= now);
  return due.map(({ id, kind, subject }) => {
    const error = kind === "signal" ? toErrorRecord(signalTimeout(subject ?? "", id)) : undefined;
    return { type: "ended", step: id, at: now, error, own: true };
  });
}

/** Returns when the next one ends, or the run, in epoch milliseconds. */
export function nextTimer(execution: Execution, deadlineAt: number): number {
  return Math.min(deadlineAt, ...timed(execution).map((step) => step.asked?.until ?? 0));
}

function timed(execution: Execution): OpenStep[] {
  return execution.pending().filter((step) => step.asked?.until !== undefined);
}
