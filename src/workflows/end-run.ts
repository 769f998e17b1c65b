import { cancelJob } from "../producers/cancel.ts";
import { activityQueue } from "../shared/catalog.ts";
import { chunksOf } from "../shared/chunks-of.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { type GlueError, JobCancelledError } from "../shared/errors.ts";
import { isStoredLoss } from "../shared/stored-data.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { cancelActivities } from "../store/activity.ts";
import { countFailure, type EndPlace } from "../store/error-counts.ts";
import { type AskedEntry, notifyRun, type RunJournalEntry, readRunJournal } from "../store/run-journal.ts";
import { parentOf, type RunRecord, readRun } from "../store/run-record.ts";
import { endOfChild } from "../store/step-end.ts";
import type { Store } from "../store/store.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { deadlineError } from "./run-errors.ts";
import { queueOf } from "./step-model.ts";

/** Steps ended at a time: each takes a few round trips to Redis. */
const CHUNK = 100;

/** `over`: it had ended before, and that end stays. */
type EndOutcome = "ended" | "over" | "lost";

/** Ends a run at once, whether a worker has it or not: its steps and child runs too. */
export function cancelRun(fleet: FleetAccess, runId: string): Promise<EndOutcome> {
  const error = new JobCancelledError({ message: "the run was cancelled" });
  return endRun(fleet, runId, "cancelled", error, { type: "cancelled", at: Date.now() });
}

/** Tells metrics that a run has its end. */
export function tellRunEnd({ metrics }: FleetAccess, { workflow, status, createdAt }: RunRecord): void {
  metrics?.runEnded(workflow, status, Date.now() - createdAt);
}

/** Ends a run whose deadline has passed, and that no worker ends. */
export function expireRun(fleet: FleetAccess, runId: string): Promise<EndOutcome> {
  return endRun(fleet, runId, "failed", deadlineError());
}

async function endRun(
  fleet: FleetAccess,
  runId: string,
  status: "cancelled" | "failed",
  error: GlueError,
  entry?: RunJournalEntry,
): Promise<EndOutcome> {
  const { store } = fleet;
  const outcome = await notifyRun(store, runId, entry, endFields(status, error));
  const run = await readRun(store, runId);
  if (!run) return "lost";
  if (outcome === "over") return run.status === "running" ? "lost" : "over";
  const failure = failureOf(run);
  if (failure) await countFailure(store, "end", runPlace(run), fleet.settings.retention, failure);
  // Of a cancelled run the worker tells that has its job.
  if (status === "failed") tellRunEnd(fleet, run);
  // A journal that cannot be read keeps nobody from the news.
  if (run.parentRunId) await notifyRun(store, run.parentRunId, endOfChild(run));
  await cancelSteps(fleet, openSteps(await readRunJournal(store, runId)));
  return "ended";
}

/**
 * Ends a run whose record cannot be read, so that its parent learns of it and its limits let others begin. What is of another type
 * than it should be stays as it is.
 */
export async function endUnreadable(store: Store, runId: string, error: GlueError): Promise<void> {
  try {
    await notifyRun(store, runId, undefined, endFields("failed", error));
    const parent = await parentOf(store, runId);
    if (!parent) return;
    // It may have had another end, which stays.
    const run = await readRun(store, runId).catch(() => undefined);
    const { runId: parentId, step } = parent;
    const ended = { type: "ended" as const, step, at: Date.now(), error: toErrorRecord(error) };
    await notifyRun(store, parentId, run ? endOfChild(run) : ended);
  } catch (fault) {
    if (!isStoredLoss(fault)) throw fault;
  }
}

function endFields(status: "cancelled" | "failed", error: GlueError): string[] {
  return ["status", status, "finishedAt", String(Date.now()), "error", JSON.stringify(toErrorRecord(error))];
}

/** Returns the place by which the counts of errors count a run's end. */
export function runPlace({ tenant, queue }: RunRecord): EndPlace {
  return { model: undefined, queue, tenant: tenant ?? DEFAULT_TENANT };
}

/** Returns what the counts of errors keep of a run's failure; undefined when it did not fail. */
export function failureOf({ id, status, error }: RunRecord) {
  return status === "failed" && error
    ? { code: error.code, example: { id, message: error.message } }
    : undefined;
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

async function endActivities({ store, queues }: FleetAccess, asked: readonly AskedEntry[]): Promise<void> {
  const open = asked.filter(({ kind, job }) => kind === "activity" && job !== undefined);
  for (const chunk of chunksOf(open, CHUNK)) {
    await cancelActivities(
      store,
      chunk.map(({ job = "" }) => job),
    );
    // A worker that has one ends its job.
    await Promise.all(
      chunk.map(({ subject = "", job = "" }) => queues.named(activityQueue(subject)).remove(job)),
    );
  }
}

/** Ends jobs and child runs that nobody waits for any more. */
export async function cancelSteps(fleet: FleetAccess, asked: readonly AskedEntry[]): Promise<void> {
  await endActivities(fleet, asked);
  for (const chunk of chunksOf(asked, CHUNK))
    await Promise.all(
      chunk.map((step) =>
        cancelStep(fleet, step).catch((error: unknown) => {
          // One whose data is damaged keeps neither the others nor the run from their end.
          if (!isStoredLoss(error)) throw error;
        }),
      ),
    );
}

async function cancelStep(
  fleet: FleetAccess,
  { kind, subject, job: id, abandon }: AskedEntry,
): Promise<void> {
  if (id === undefined || abandon) return;
  if (kind === "child") await cancelRun(fleet, id);
  if (kind !== "completion") return;
  const queue = fleet.queues.named(queueOf(subject));
  const job = await queue.getJob(id);
  if (job) await cancelJob(fleet.store, queue, job);
}
