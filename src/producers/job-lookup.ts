import { askJobTimes, jobTimes } from "../store/bullmq-internals.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import { repliesOf } from "../store/redis.ts";
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
