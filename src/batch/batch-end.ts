import type { GlueError } from "../shared/errors.ts";
import type { StopReason } from "./model-stops.ts";

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
