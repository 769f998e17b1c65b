import type { ErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";

/** Why rows of a batch are not sent, and what the provider said of them. */
export interface StopReason {
  error: ErrorRecord;
  providerMessage?: string | undefined;
}

/**
 * How sending ended: all rows have results, somebody asked to stop, an account fault stopped the batch, or the rest of the
 * input has a fault.
 */
export type BatchEnd =
  | { kind: "finished" }
  | { kind: "interrupted" }
  | { kind: "cancelled" }
  | { kind: "faulted"; error: GlueError }
  | ({ kind: "stopped" } & StopReason);
