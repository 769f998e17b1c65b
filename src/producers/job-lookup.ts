import { z } from "zod";
import { parseJson } from "../shared/json.ts";
import { tenantSchema } from "../shared/tenant.ts";
import { askJobTimes, jobKey, jobTimes } from "../store/bullmq-internals.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import { repliesOf } from "../store/redis.ts";
import { readRecord } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";

/** A job as its holder knows it. */
export interface JobRef {
  readonly id: string;
  /** Found among all queues, and kept, when it is not known. */
  queue?: string;
}

export interface FoundJob {
  queue: string;
  /** BullMQ has finished it: there is a record, or there will never be one. */
  hasEnded: boolean;
  /** Of its latest attempt, in epoch milliseconds; undefined when it waits for its first, or was put into its queue again. */
  startedAt: number | undefined;
}

/** The job as BullMQ has it; undefined when it is in no queue (any more). */
export async function findJob(store: Store, job: JobRef): Promise<FoundJob | undefined> {
  const queues = job.queue ? [job.queue] : await registeredQueues(store);
  const pipeline = store.redis.pipeline();
  for (const queue of queues) askJobTimes(pipeline, store, queue, job.id);
  for (const [i, reply] of (await repliesOf(pipeline)).entries()) {
    const times = jobTimes(reply);
    const queue = queues[i];
    if (times && queue) {
      job.queue = queue;
      return { queue, hasEnded: times.endedAt !== undefined, startedAt: times.startedAt };
    }
  }
  return undefined;
}

const ownedSchema = z.object({ tenant: tenantSchema.optional() });

/** Returns whose a job is: by its record, else by what BullMQ has of it; undefined when Redis has neither. */
export async function ownerOf(
  store: Store,
  job: JobRef,
): Promise<{ tenant?: string | undefined } | undefined> {
  // In this order: a job that has ended left its record before.
  const found = await findJob(store, job);
  const record = await readRecord(store, job.id);
  if (record || !found) return record;
  const data = await store.redis.hget(jobKey(store, found.queue, job.id), "data");
  return data === null ? undefined : ownedSchema.safeParse(parseJson(data)).data;
}
