import { JobCancelledError } from "../shared/errors.ts";
import { thrownText } from "../shared/thrown-text.ts";

/**
 * Returns what a call brings that its signal ends.
 * @throws JobCancelledError, whose cause is the signal's reason, when the call fails with that
 */
export async function endedBy<T>(signal: AbortSignal | undefined, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw asCancelled(signal, error);
  }
}

/** Returns the error of a call: a JobCancelledError for its signal's reason. */
export function asCancelled(signal: AbortSignal | undefined, error: unknown): unknown {
  if (!signal?.aborted || error !== signal.reason) return error;
  const message = `the call was aborted: ${thrownText(error).slice(0, 1000)}`;
  return new JobCancelledError({ message }, { cause: error });
}
