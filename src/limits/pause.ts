import { channel } from "node:diagnostics_channel";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName, parseCompletionQueueName } from "../shared/queue-name.ts";
import { pauseQueues, queuePausedMs } from "../store/bullmq-internals.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import { notify } from "../store/topics.ts";
import type { FleetBudgets } from "./fleet-budgets.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** Who waits when a provider asks for a pause: the job alone, its queue, or every queue that shares its budget. */
export type SnoozeScope = "job" | "queue" | "budget";

interface PauseContext {
  store: Store;
  budgets: FleetBudgets;
  limiter: RateLimiter;
}

const pauseChannel = channel("gluellm:pause");

/** Pauses what the provider of `model` asked for: its queue, or every queue of its budget; nothing for the job alone. */
export async function pauseModel(
  context: PauseContext,
  model: ModelRef,
  { scope, delayMs }: { scope: SnoozeScope; delayMs: number },
): Promise<void> {
  const queue = completionQueueName(model);
  if (scope === "queue") await pauseQueues(context.store, [queue], delayMs);
  if (scope === "budget") await pauseBudget(context, queue, model.key, delayMs);
}

/** Returns in how many milliseconds the queue of `model` goes on, 0 when it is not paused: for jobs of other queues. */
export function pausedMs({ store }: Pick<PauseContext, "store">, model: ModelRef): Promise<number> {
  return queuePausedMs(store, completionQueueName(model));
}

/**
 * Pauses a budget, as its provider asked: every queue of it waits, in all processes, and so do the jobs that already
 * wait for the budget. At the end of it the budget is empty, since the provider's is. Diagnostics channel
 * `gluellm:pause`: `{budget, ms}`.
 */
async function pauseBudget(context: PauseContext, queue: string, key: string, ms: number): Promise<void> {
  const { store, budgets, limiter } = context;
  const id = budgets.idOf(key);
  // A model that only jobs of several models call has no registered queue.
  const sharing = id === key ? [queue] : [...new Set([queue, ...(await queuesOf(context, id))])];
  await pauseQueues(store, sharing, ms);
  await notify(store, "pause", `${Math.ceil(ms)}:${id}`);
  await limiter.drain(id, ms);
  pauseChannel.publish({ budget: id, ms });
}

async function queuesOf({ store, budgets }: PauseContext, id: string): Promise<string[]> {
  const names = await registeredQueues(store);
  return names.filter((name) => {
    const ref = parseCompletionQueueName(name);
    return ref && budgets.idOf(ref.key) === id;
  });
}
