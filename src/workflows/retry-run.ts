import { setTimeout as delay } from "node:timers/promises";
import { InputError, JobLostError } from "../shared/errors.ts";
import { clockOf } from "../store/redis-clock.ts";
import { type EndedEntry, type RunJournalEntry, readRunJournal } from "../store/run-journal.ts";
import { renewRunParts } from "../store/run-parts.ts";
import { DEFAULT_DEADLINE_MS, isBounded, type RunRecord, readRun, reviveRun } from "../store/run-record.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { isOutside } from "./run-steps.ts";
import { addRunJob } from "./start-run.ts";

/** How long the worker that failed the run has to let go of its job, in milliseconds. */
const LET_GO_MS = 30_000;

/**
 * Lets a failed run go on in place from the step that it failed with; everything else is as it ended. A failed child run
 * goes on in place too.
 * @throws InputError (`run_not_failed`); JobLostError
 */
export async function retryRun(fleet: FleetAccess, runId: string): Promise<void> {
  const run = await readRun(fleet.store, runId);
  if (!run) throw new JobLostError(runId, "run");
  if (run.parentRunId) {
    throw new InputError(
      `run ${runId} is a child run`,
      `retry its parent, ${run.parentRunId}`,
      "run_not_failed",
    );
  }
  await retry(fleet, run);
}

async function retry(fleet: FleetAccess, run: RunRecord): Promise<void> {
  const { store } = fleet;
  const journal = await readRunJournal(store, run.id);
  if (run.status === "failed") {
    const failed = failedStep(run, journal);
    const child = await failedChild(fleet, journal, failed);
    const removed = placesToRemove(journal, failed, child !== undefined);
    const span = isBounded(run) ? run.deadlineAt - run.createdAt : DEFAULT_DEADLINE_MS;
    const deadlineAt = (await clockOf(store).fresh()) + span;
    // Another retry may have come first: then there is nothing to do but to look after the job.
    await renewRunParts(store, journal, deadlineAt);
    await reviveRun(store, run, { length: journal.length, removed, deadlineAt });
    const revived = await readRun(store, run.id);
    if (revived?.status === "running") await renewJob(fleet, revived);
    // Its job is a child of its parent's.
    if (child) await retry(fleet, child);
    if (revived?.status === "running") return;
  }
  const standing = await readRun(store, run.id);
  if (standing?.status !== "running") {
    const { status = "lost" } = standing ?? {};
    throw new InputError(`run ${run.id} has not failed: it is ${status}`, undefined, "run_not_failed");
  }
  await renewJob(fleet, standing);
}

/** The step that the run failed with: it names it itself, else the last one that failed; none when its function threw. */
function failedStep({ error }: RunRecord, journal: readonly RunJournalEntry[]): string | undefined {
  const isFailure = (entry: RunJournalEntry): entry is EndedEntry =>
    entry.type === "ended" && entry.error !== undefined && entry.error.category !== "cancelled";
  const named = error?.context?.step;
  const ended = journal.filter(
    (entry): entry is EndedEntry => entry.type === "ended" && entry.error !== undefined,
  );
  return ended.find(({ step }) => step === named)?.step ?? ended.filter(isFailure).at(-1)?.step;
}

async function failedChild(
  { store }: FleetAccess,
  journal: readonly RunJournalEntry[],
  failed: string | undefined,
): Promise<RunRecord | undefined> {
  const asked = journal.find((entry) => entry.type === "asked" && entry.step === failed);
  if (asked?.type !== "asked" || asked.kind !== "child" || !asked.job) return undefined;
  const child = await readRun(store, asked.job);
  return child?.status === "failed" ? child : undefined;
}

/** What is to be asked anew: the failed step, and what the run's end broke off. The counts of lost workers begin anew. */
function placesToRemove(
  journal: readonly RunJournalEntry[],
  failed: string | undefined,
  keepsQuestion: boolean,
): number[] {
  const ended = new Set(journal.flatMap((entry) => (entry.type === "ended" ? entry.step : [])));
  return journal.flatMap((entry, place) => {
    switch (entry.type) {
      case "lost":
      case "overran":
        return place;
      case "tried":
      case "ended":
        return entry.step === failed ? place : [];
      case "asked": {
        if (entry.step === failed) return keepsQuestion ? [] : place;
        const isBrokenOff = !ended.has(entry.step) && isOutside(entry.kind);
        return isBrokenOff ? place : [];
      }
      default:
        return [];
    }
  });
}

/** Gives the run a job again, once the worker that failed it has let go of the old one. */
async function renewJob(fleet: FleetAccess, run: RunRecord): Promise<void> {
  const queue = await fleet.queues.registered(run.queue);
  const endsAt = Date.now() + LET_GO_MS;
  let state = await queue.getJobState(run.id);
  while (state === "active" && Date.now() < endsAt) {
    await delay(20);
    state = await queue.getJobState(run.id);
  }
  if (state === "failed" || state === "completed") await queue.remove(run.id, { removeChildren: false });
  const parent = run.parentRunId ? await readRun(fleet.store, run.parentRunId) : undefined;
  await addRunJob(fleet, run.queue, {
    ...{ runId: run.id, workflow: run.workflow, version: run.version, priority: run.priority },
    ...(parent && { parent: { runId: parent.id, step: run.parentStep ?? "", queue: parent.queue } }),
  });
}
