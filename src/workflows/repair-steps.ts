import { activityQueue, WORKFLOW_QUEUE, workflowQueue } from "../shared/catalog.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { JobLostError } from "../shared/errors.ts";
import { storedFault } from "../shared/stored-data.ts";
import { askJobTimes, jobKey, jobTimes } from "../store/bullmq-internals.ts";
import { repliesOf } from "../store/redis.ts";
import type { EndedEntry } from "../store/run-journal.ts";
import type { RunRecord } from "../store/run-record.ts";
import { endOfStep } from "../store/step-end.ts";
import type { Store } from "../store/store.ts";
import { openRecord } from "../store/stored-record.ts";
import type { FleetAccess } from "./fleet-access.ts";
import { dispatch } from "./run-steps.ts";
import type { OpenStep } from "./step.ts";
import { queueOf } from "./step-model.ts";

const CHUNK = 500;

/** Where the job of a child run may be: version 0.1 had one queue for all. */
function childJobKeys(store: Store, workflow = "", runId: string): string[] {
  return [workflowQueue(workflow), WORKFLOW_QUEUE].map((queue) => jobKey(store, queue, runId));
}

/**
 * Steps that another turn recorded, and may not have lived to make: what is missing is made, what ended without telling
 * the run is told.
 */
export async function repair(
  fleet: FleetAccess,
  run: RunRecord,
  steps: readonly OpenStep[],
): Promise<EndedEntry[]> {
  const { store } = fleet;
  const ended: EndedEntry[] = [];
  const missing: OpenStep[] = [];
  for (let i = 0; i < steps.length; i += CHUNK) {
    const chunk = steps.slice(i, i + CHUNK);
    const pipeline = store.redis.pipeline();
    for (const { kind, subject, asked } of chunk) {
      const job = asked?.job ?? "";
      if (kind === "child")
        pipeline.hget(store.keys.workflow(job), "status").exists(...childJobKeys(store, subject, job));
      else if (kind === "activity")
        askJobTimes(
          pipeline.hget(store.keys.activity(job), "ended"),
          store,
          activityQueue(subject ?? ""),
          job,
        );
      else askJobTimes(pipeline.get(store.keys.result(job)), store, queueOf(subject), job);
    }
    const replies = await repliesOf(pipeline).catch((error) => {
      throw storedFault(`what steps of run ${run.id} have brought`, error);
    });
    for (const [n, step] of chunk.entries()) {
      const [end, job] = [replies[2 * n], replies[2 * n + 1]];
      const at = Date.now();
      if (step.kind === "child") {
        if (job === 0 || end === null) missing.push(step);
        else step.isDispatched = true;
        continue;
      }
      const times = jobTimes(job);
      // Its end and its entry are one.
      if (step.kind === "activity" && end !== null) {
        step.isDispatched = true;
        continue;
      }
      const record = await openRecord(fleet.store, step.asked?.job ?? "", end as string | null);
      if (record) ended.push(endOfStep(step.id, record));
      else if (!times) missing.push(step);
      else if (times.endedAt !== undefined) {
        const error = toErrorRecord(new JobLostError(step.asked?.job ?? ""));
        ended.push({ type: "ended", step: step.id, at, error });
      } else step.isDispatched = true;
    }
  }
  await dispatch(fleet, run, missing);
  return ended;
}
