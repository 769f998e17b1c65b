import { toErrorRecord } from "../shared/error-record.ts";
import { GlueError, JobCancelledError } from "../shared/errors.ts";
import type { EndedEntry } from "../store/run-journal.ts";

const WITHDRAWN = "withdrawn";

/** The end of a wait that lost its race: what a signal brought it meanwhile is for the next wait of its name. */
export function withdrawnEntry(step: string): EndedEntry {
  const error = new GlueError({
    code: WITHDRAWN,
    category: "cancelled",
    message: "the wait had lost its race when the run waited for the signal again",
    context: { step },
  });
  return { type: "ended", step, at: Date.now(), own: true, error: toErrorRecord(error) };
}

export function isWithdrawal({ error }: EndedEntry): boolean {
  return error?.code === WITHDRAWN;
}

/** The end of a step that the run's function has cancelled. */
export function cancelledEntry(step: string): EndedEntry {
  const error = new JobCancelledError({
    message: `step "${step}" was cancelled by its run`,
    context: { step },
  });
  return { type: "ended", step, at: Date.now(), own: true, error: toErrorRecord(error) };
}
