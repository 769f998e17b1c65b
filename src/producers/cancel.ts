import type { Job, Queue } from "bullmq";
import type { CompletionPayload } from "../shared/catalog.ts";
import { toErrorRecord } from "../shared/error-record.ts";
import { JobCancelledError } from "../shared/errors.ts";
import { emptyRecord, type ResultRecord } from "../shared/records.ts";
import { isBlobRef, releaseBlob } from "../store/blobs.ts";
import { SLEEPS } from "../store/job-waits.ts";
import { cancelRecord } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";
import { wakeFirst } from "../store/wake-first.ts";

/**
 * Cancels one interactive job, and takes it out of its queue when no worker has it.
 * Returns what has become of the job: an answer that came first stays.
 */
export async function cancelJob(
  store: Store,
  queue: Queue,
  job: Job<CompletionPayload>,
): Promise<ResultRecord["status"] | "lost"> {
  const id = job.id ?? "";
  const error = { ...toErrorRecord(new JobCancelledError()), attempts: job.attemptsMade };
  const record = { ...emptyRecord(id, job.data, "cancelled", job.attemptsMade), error };
  const outcome = await cancelRecord(store, queue.name, job.data, record);
  if (outcome !== "cancelled") return outcome;
  await queue.remove(id);
  const { parent } = job.data;
  if (parent) await wakeFirst(store, parent.queue, parent.jobId, SLEEPS);
  // A worker that has the job either read its request before, or finds the record first.
  const { request } = job.data;
  if (isBlobRef(request)) await releaseBlob(store, request, id);
  return outcome;
}
