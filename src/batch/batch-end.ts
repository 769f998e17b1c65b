import type { ErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import type { BatchStatus } from "../shared/records.ts";
import type { Lease } from "../store/batch-lease.ts";
import type { LineCipher } from "../store/sealed-lines.ts";
import type { InputHandle } from "./line-reader.ts";

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

/** What the results of rows say that were not sent, and the state that the batch has with them. */
export interface UnsentRows {
  code: string;
  message: string;
  hint: string;
  status: BatchStatus;
}

/** How a batch is run by a host, which holds its lease over all its states. */
export interface HostedBatch {
  id: string;
  lease: Lease;
  /** Epoch milliseconds after which no attempt of a row starts. */
  deadlineAt: number;
  /** Decides at an end that left rows unsent: their results say so and the output is written, or a later run sends them (undefined). */
  unsent(end: BatchEnd): UnsentRows | undefined;
  /** Opens the input at its path; default: as it is. */
  openInput?: (path: string) => Promise<InputHandle>;
  /** Encrypts the lines of what is written; default: they are in clear. */
  lines?: LineCipher;
  /** Keeps results elsewhere too, for hosts that do not see this one's files. Returns once they are there. */
  keepResults?: (lines: readonly string[]) => Promise<void>;
}
