import type { Job, Queue } from "bullmq";
import { parseCompletionQueueName } from "../src/shared/queue-name.ts";
import { readBreakerState } from "../src/store/breaker.ts";
import { queuePausedMs } from "../src/store/bullmq-internals.ts";
import type { Store } from "../src/store/store.ts";

/** Adds to the data of jobs what they wait for, for the board alone: the jobs in Redis stay as they are. */
export async function showReasons(store: Store, queue: Queue, jobs: readonly Job[]): Promise<void> {
  const unended = jobs.filter(({ finishedOn }) => finishedOn === undefined);
  const ofQueue = unended.length === 0 ? undefined : await reasonOfQueue(store, queue);
  for (const job of unended) {
    const waitsFor = job.delay > 0 ? (reasonOf(job) ?? ofQueue) : ofQueue;
    if (waitsFor === undefined) continue;
    const toJson = job.toJSON.bind(job);
    job.toJSON = () => {
      const json = toJson();
      return { ...json, data: { ...Object(json.data), waitsFor } };
    };
  }
}

/** Written by the worker that put it back. */
function reasonOf({ progress, failedReason, opts }: Job): string | undefined {
  const { waitsFor } = Object(progress) as { waitsFor?: string };
  if (waitsFor) return waitsFor;
  if (failedReason) return `its next attempt, after ${failedReason}`;
  return opts.delay ? "the time it was delayed to" : undefined;
}

async function reasonOfQueue(store: Store, queue: Queue): Promise<string | undefined> {
  if (await queue.isPaused()) return "the queue: an operator paused it";
  const ref = parseCompletionQueueName(queue.name);
  const breaker = ref && (await readBreakerState(store, ref.key));
  if (breaker && breaker.state !== "closed")
    return `the queue: its circuit breaker is ${breaker.state}, the provider failed ${breaker.failures} of ${breaker.calls} calls`;
  const pausedMs = await queuePausedMs(store, queue.name);
  return pausedMs > 0 ? `the queue: the provider's pause, ${Math.ceil(pausedMs / 1000)} s more` : undefined;
}
