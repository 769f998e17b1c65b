import type { ActivityPayload } from "../shared/activity-payload.ts";
import { activityQueue } from "../shared/catalog.ts";
import { inlineOrBlob } from "../store/blobs.ts";
import { sealJobData } from "../store/job-data.ts";
import type { RunRecord } from "../store/run-record.ts";
import { carrierOf } from "../telemetry/trace-context.ts";
import { activeSpan } from "../telemetry/tracing.ts";
import type { FleetAccess } from "./fleet-access.ts";
import type { OpenStep } from "./step.ts";

/** Jobs per call of addBulk: more in one transaction hold Redis up. */
const CHUNK = 500;

/** Adds the jobs of a run's activities to their queues. Doing it twice does nothing. */
export async function addActivities(
  fleet: FleetAccess,
  run: RunRecord,
  steps: readonly OpenStep[],
): Promise<void> {
  const activities = steps.filter(({ kind }) => kind === "activity");
  for (const [name = "", group] of Map.groupBy(activities, ({ subject }) => subject)) {
    const queue = await fleet.queues.registered(activityQueue(name));
    for (let i = 0; i < group.length; i += CHUNK) {
      await queue.addBulk(
        await Promise.all(group.slice(i, i + CHUNK).map((step) => jobOf(fleet, run, step))),
      );
    }
  }
}

async function jobOf({ store }: FleetAccess, run: RunRecord, { id, effect, asked }: OpenStep) {
  const jobId = asked?.job ?? "";
  const { activity = "", input, typed, priority } = effect.kind === "activity" ? effect : {};
  const data: ActivityPayload = {
    ...{ v: 1, kind: "activity", activity, typed, workflow: { runId: run.id, step: id } },
    ...carrierOf(activeSpan()),
    input: await inlineOrBlob(store, jobId, input ?? null, undefined, run.tenant),
  };
  const opts = {
    jobId,
    priority: priority ?? run.priority,
    // Tries are counted beside the job; what is left are faults of Redis, which pass.
    attempts: 1000,
    backoff: { type: "fixed", delay: 1000 },
    parent: { id: run.id, queue: `${store.keys.prefix}:${run.queue}` },
    ignoreDependencyOnFailure: true,
  };
  return { name: id, data: await sealJobData(store, jobId, data), opts };
}
