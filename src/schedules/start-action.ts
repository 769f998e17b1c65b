import type { CompletionProducer } from "../producers/completion-producer.ts";
import { InputError } from "../shared/errors.ts";
import { objectId, objectIdOf } from "../shared/object-id.ts";
import { decode } from "../shared/serialize.ts";
import type { Owner } from "../shared/tenant.ts";
import { FILE_LIFE_SECONDS, keepFileUntil } from "../store/file-record.ts";
import type { OpenRun } from "../store/schedule-ticks.ts";
import { createServedBatch } from "../store/served-batch.ts";
import { readWorkerCards } from "../store/worker-card.ts";
import type { FleetAccess } from "../workflows/fleet-access.ts";
import { startRun } from "../workflows/start-run.ts";
import type { BatchAction, Definition, WorkflowAction } from "./definition.ts";
import { nextTime } from "./times.ts";

const HOUR_MS = 3_600_000;

export interface ScheduleAccess extends FleetAccess {
  producer: CompletionProducer;
}

/** What a tick started, or why another worker has to start it. */
export type Started = Omit<OpenRun, "state" | "plannedAt"> | { lacks: string };

/**
 * Starts what a schedule is for. The same schedule and key start the same run, however often.
 * @param key the planned time of a tick, or a name of its own
 * @throws InputError when it cannot be started; ConfigurationError when that may pass
 */
export async function startAction(
  access: ScheduleAccess,
  { action, ...rest }: Definition,
  schedule: string,
  key: string,
): Promise<Started> {
  const owner = { tenant: rest.tenant, by: rest.by };
  if (action.kind === "workflow") return startWorkflow(access, action, owner, schedule, key);
  if (action.kind === "batch") return startBatch(access, action, { ...rest, action }, schedule, key);
  const { producer, settings } = access;
  const models = [action.input.model, ...(action.input.fallbacks ?? [])];
  const unknown = models.find(({ entry }) => !(entry in settings.providers));
  if (unknown) return { lacks: `a worker with provider entry "${unknown.entry}"` };
  const job = await producer.enqueue({ ...action.input, idempotencyKey: `${schedule}:${key}` });
  return { kind: "completion", id: job.id, queue: job.queue ?? "" };
}

async function startWorkflow(
  access: ScheduleAccess,
  { workflow, version, input, inputTyped, deadlineMs, tags, ...rest }: WorkflowAction,
  { tenant, by }: Owner,
  schedule: string,
  key: string,
): Promise<Started> {
  const cards = await readWorkerCards(access.store);
  const versions = cards.flatMap((card) => card.versions[workflow] ?? []);
  const started = { kind: "workflow", id: `${schedule}.${key}`, queue: "" };
  try {
    started.id = await startRun(access, {
      ...rest,
      ...{ tenant, by },
      runId: started.id,
      workflow,
      version: versions.length > 0 ? Math.max(...versions) : version,
      input: inputTyped ? decode(input) : input,
      deadlineMs,
      tags: [...tags, scheduleTag(schedule)],
    });
  } catch (error) {
    // It was started before the schedule got another input.
    if (!(error instanceof InputError) || error.code !== "run_conflict") throw error;
  }
  return started;
}

/** The input lives on for as long after the tick that follows as files do. */
async function startBatch(
  { store }: ScheduleAccess,
  { inputFileId, filename, endpoint, windowHours, metadata, needsPrices }: BatchAction,
  { tenant, by, ...timing }: Definition,
  schedule: string,
  key: string,
): Promise<Started> {
  const createdAt = Date.now();
  if (!(await keepFileUntil(store, inputFileId, tenant, inputLifeEnd(timing, createdAt)))) {
    const hint = "create the schedule again";
    throw new InputError(`the input ${filename} of schedule ${schedule} was deleted`, hint, "input_gone");
  }
  const id = objectIdOf("batch_", `${schedule}:${key}`, Number.parseInt(key, 10));
  await createServedBatch(store, {
    ...{ id, tenant, by, endpoint, inputFileId, schedule, createdAt, metadata },
    ...(needsPrices && { needsPrices: "true" }),
    outputFileId: objectId("file-"),
    errorFileId: objectId("file-"),
    completionWindow: `${windowHours}h`,
    outputLifeSeconds: FILE_LIFE_SECONDS,
    expiresAt: createdAt + windowHours * HOUR_MS,
  });
  return { kind: "batch", id, queue: "" };
}

/** Returns until when the input of a schedule's batches has to be there, in epoch milliseconds. */
export function inputLifeEnd(timing: Pick<Definition, "cron" | "everyMs" | "timezone">, now: number): number {
  return (nextTime(timing, now) ?? now) + FILE_LIFE_SECONDS * 1000;
}

/** By which `workflows.list` finds a schedule's runs. */
function scheduleTag(schedule: string): string {
  return `schedule:${schedule}`;
}
