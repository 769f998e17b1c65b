import { setTimeout as delay } from "node:timers/promises";
import type { Job } from "bullmq";
import { InputError, JobLostError } from "../shared/errors.ts";
import { AFRESH, renewJob } from "../store/renew-job.ts";
import { readRecord } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";
import { findJob, type JobRef } from "./job-lookup.ts";
import type { ProducerQueues } from "./queues.ts";

/** How long the worker that failed the job has to let go of it, in milliseconds. */
const LET_GO_MS = 5000;

/**
 * Puts a failed job back into its queue, with new attempts and a new deadline.
 * @throws InputError (`job_not_failed`), also when it has left its queue; JobLostError
 */
export async function retryJob(store: Store, queues: ProducerQueues, ref: JobRef): Promise<void> {
  const found = await findJob(store, ref);
  const record = await readRecord(store, ref.id);
  const job: Job | undefined = found && (await queues.named(found.queue).getJob(ref.id));
  if (!job && !record) throw new JobLostError(ref.id);
  if (!job && record?.status === "failed") {
    throw new InputError(
      `job ${ref.id} has left its queue some time after its end`,
      "enqueue its request anew",
      "job_not_failed",
    );
  }
  const isFailed = job && (record === undefined || record.status === "failed") && (await letGo(job));
  if (!job || !isFailed) {
    const status = !record || record.status === "failed" ? "waiting or at work" : record.status;
    throw new InputError(`job ${ref.id} has not failed: it is ${status}`, undefined, "job_not_failed");
  }
  await renewJob(store, job);
  try {
    await job.retry("failed", AFRESH);
  } catch (error) {
    // Somebody else's retry came first.
    if (await job.isFailed()) throw error;
  }
}

/** The record of a failure stands a moment before the job's own end. Returns whether the job has failed. */
async function letGo(job: Job): Promise<boolean> {
  const endsAt = performance.now() + LET_GO_MS;
  let state = await job.getState();
  while (state === "active" && performance.now() < endsAt) {
    await delay(20);
    state = await job.getState();
  }
  return state === "failed";
}
