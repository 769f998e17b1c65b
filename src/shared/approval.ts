import { z } from "zod";

export const decisionSchema = z.object({
  approved: z.boolean(),
  /** Why not; the model is told. */
  reason: z.string().optional(),
  /** Who decided: a name, or `timeout`. */
  by: z.string().optional(),
  /** Epoch milliseconds. */
  at: z.number(),
});
/** The answer to the question whether a tool may be called. */
export type Decision = z.infer<typeof decisionSchema>;

/** A call of a tool that waits for a person. */
export interface PendingApproval {
  /** The name of the call within its job: the model's id of it, unless an earlier call of the job had that. */
  callId: string;
  /** The name of the tool. */
  toolName: string;
  /** What it would be called with, as parsed JSON. */
  arguments: unknown;
  /** The agent whose model made the call; absent for a job without one. */
  agent?: string | undefined;
  /** The times when it was asked and when the tool's time-out decides, in epoch milliseconds. */
  askedAt: number;
  expiresAt: number;
}

/** The longest time for an answer: what a job has finished is kept for 30 days. */
export const MAX_APPROVAL_MS = 28 * 86_400_000;
export const DEFAULT_APPROVAL_MS = 86_400_000;
