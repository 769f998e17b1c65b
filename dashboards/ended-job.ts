import { Job, type Queue } from "bullmq";
import { hasRuns, workflowOfQueue } from "../src/shared/catalog.ts";
import { previewOfAnswer } from "../src/shared/chat.ts";
import { modelKeyOf, paidUsd, type ResultRecord } from "../src/shared/records.ts";
import { isBlobRef } from "../src/store/blobs.ts";
import { readRecord } from "../src/store/result-record.ts";
import type { Store } from "../src/store/store.ts";

const REMOVED =
  "Its job was removed from the queue some time after its end (GLUELLM_RETENTION_COMPLETED, GLUELLM_RETENTION_FAILED). This is its result record.";

/** Returns a job that is no longer in its queue as its record tells of it; undefined when that is gone too. */
export async function endedJob(store: Store, queue: Queue, id: string): Promise<Job | undefined> {
  if (hasRuns(queue.name)) return endedRun(store, queue, id);
  const record = await readRecord(store, id).catch(() => undefined);
  if (!record) return undefined;
  const { status, error, attempts, finishedAt, latencyMs } = record;
  const job = shownOnly(queue, id, "removed job", dataOf(record), status);
  job.timestamp = job.processedOn = finishedAt - latencyMs;
  job.attemptsMade = attempts;
  job.finishedOn = finishedAt;
  if (error) job.failedReason = `${error.code}: ${error.message}`;
  if (status === "succeeded") job.returnvalue = summaryOf(record);
  return job;
}

/** Its data is filled in from the run's record, as that of runs whose job is there. */
async function endedRun(store: Store, queue: Queue, id: string): Promise<Job | undefined> {
  const fields = ["status", "workflow", "createdAt", "finishedAt"] as const;
  const [status, workflow, createdAt, finishedAt] = await store.redis.hmget(
    store.keys.workflow(id),
    ...fields,
  );
  if (!status || status === "running" || workflow !== (workflowOfQueue(queue.name) ?? workflow))
    return undefined;
  const job = shownOnly(queue, id, workflow ?? "", {}, status);
  job.timestamp = job.processedOn = Number(createdAt);
  job.finishedOn = Number(finishedAt);
  return job;
}

/** A job that nothing can be done with. */
function shownOnly(queue: Queue, id: string, name: string, data: object, status: string): Job {
  const job = new Job(queue, name, data, {}, id);
  job.getState = async () => (status === "succeeded" ? "completed" : "failed");
  job.retry = job.promote = async () => {
    throw new Error("the job is no longer in its queue");
  };
  return job;
}

function dataOf(record: ResultRecord) {
  const { requestId: _, body } = { requestId: undefined, body: undefined, ...record.response };
  return {
    removed: REMOVED,
    status: record.status,
    model: modelKeyOf(record),
    ...(body !== undefined && { answer: isBlobRef(body) ? body : previewOfAnswer(body) }),
    ...(record.error && { error: record.error }),
  };
}

function summaryOf(record: ResultRecord) {
  const { status, model, tokens } = record;
  return { status, model, tokens, costUsd: paidUsd(record) };
}
