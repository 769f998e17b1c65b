import { cancelJob } from "../producers/cancel.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { JobCancelledError } from "../shared/errors.ts";
import {
  type AskedEntry,
  endOfChild,
  notifyRun,
  type RunJournalEntry,
  readRunJournal,
} from "../store/run-journal.ts";
import { readRun } from "../store/run-record.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { queueOf } from "./step-model.ts";

/**
 * Ends a run at once, whether a worker has it or not: its steps and child runs too.
 * @returns `over` when it had ended before: an end that came first stays.
 */
export async function cancelRun(fleet: FleetAccess, runId: string): Promise<"cancelled" | "over" | "lost"> {
  const { store } = fleet;
  const at = Date.now();
  const error = toErrorRecord(new JobCancelledError({ message: "the run was cancelled" }));
  const outcome = await notifyRun(store, runId, { type: "cancelled", at }, [
    ...["status", "cancelled", "finishedAt", String(at), "error", JSON.stringify(error)],
  ]);
  const run = await readRun(store, runId);
  if (!run) return "lost";
  if (outcome === "over") return run.status === "running" ? "lost" : "over";
  await cancelSteps(fleet, openSteps(await readRunJournal(store, runId)));
  if (run.parentRunId) await notifyRun(store, run.parentRunId, endOfChild(run));
  return "cancelled";
}

/** Steps that were asked for and have not ended. */
export function openSteps(journal: readonly RunJournalEntry[]): AskedEntry[] {
  const open = new Map<string, AskedEntry>();
  for (const entry of journal) {
    if (entry.type === "asked") open.set(entry.step, entry);
    if (entry.type === "ended") open.delete(entry.step);
  }
  return [...open.values()];
}

/** Ends jobs and child runs that nobody waits for any more. */
export async function cancelSteps(fleet: FleetAccess, asked: readonly AskedEntry[]): Promise<void> {
  const { store, queues } = fleet;
  for (const { kind, subject, job: id } of asked) {
    if (id === undefined) continue;
    if (kind === "child") await cancelRun(fleet, id);
    if (kind !== "completion") continue;
    const queue = queues.named(queueOf(subject));
    const job = await queue.getJob(id);
    if (job) await cancelJob(store, queue, job);
  }
}
