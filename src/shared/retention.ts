import type { CompletionPayload } from "./catalog.ts";
import type { ResultRecord } from "./records.ts";

/** How long what has ended stays in Redis, in milliseconds. */
export interface Retention {
  /** Jobs in their queues, with their request and the beginning of their answer. */
  completedMs: number;
  /** Jobs that failed, and their results. */
  failedMs: number;
  /** Results of single calls. */
  resultsMs: number;
  /** Conversations, after their last message. */
  conversationsMs: number;
  /** Runs of workflows with their steps' results, after their end. */
  runsMs: number;
  /** Counts of errors, by the hour. */
  errorsMs: number;
}

/** The life of a result record, where no setting gives it another one. */
export const RESULT_TTL_SECONDS = {
  succeeded: 7 * 86_400,
  batchRow: 30 * 86_400,
  /** The time for which its request or answer lies in a blob: a run replays its steps until its deadline. */
  workflowStep: 32 * 86_400,
} as const;

/** How long an ended run of a workflow can be read and forked. */
export const RUN_TTL_SECONDS = 30 * 86_400;

/** How long counts of errors can be read. */
export const ERROR_COUNT_TTL_SECONDS = 7 * 86_400;

/** How long the record of a job is kept; rows and steps are their batch's and run's to end. */
export function resultTtlSeconds(
  { batch, workflow }: Pick<CompletionPayload, "batch" | "workflow">,
  status: ResultRecord["status"],
  { resultsMs, failedMs }: { resultsMs: number; failedMs: number },
): number {
  if (batch) return RESULT_TTL_SECONDS.batchRow;
  if (workflow) {
    const longerMs = Math.max(0, (workflow.keepUntil ?? 0) - Date.now());
    return RESULT_TTL_SECONDS.workflowStep + Math.ceil(longerMs / 1000);
  }
  const seconds = Math.ceil((status === "failed" ? failedMs : resultsMs) / 1000);
  return Math.max(MIN_RESULT_SECONDS, seconds);
}

/** Its caller looks for it every few seconds. */
const MIN_RESULT_SECONDS = 60;
