import type { CompletionProducer } from "../producers/completion-producer.ts";
import { InputError } from "../shared/errors.ts";
import { decode } from "../shared/serialize.ts";
import type { Owner } from "../shared/tenant.ts";
import type { OpenRun } from "../store/schedule-ticks.ts";
import { readWorkerCards } from "../store/worker-card.ts";
import type { FleetAccess } from "../workflows/fleet-access.ts";
import { startRun } from "../workflows/start-run.ts";
import type { Definition, WorkflowAction } from "./definition.ts";

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
  { action, ...owner }: Pick<Definition, "action" | "tenant" | "by">,
  schedule: string,
  key: string,
): Promise<Started> {
  if (action.kind === "workflow") return startWorkflow(access, action, owner, schedule, key);
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

/** By which `workflows.list` finds a schedule's runs. */
function scheduleTag(schedule: string): string {
  return `schedule:${schedule}`;
}
