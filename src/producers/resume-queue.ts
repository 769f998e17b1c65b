import { budgetId } from "../shared/budget.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { InputError } from "../shared/errors.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { liftPause } from "../store/long-pause.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import type { Store } from "../store/store.ts";
import { withQueue } from "../store/with-queue.ts";

/**
 * Lifts what holds up a queue: an operator's pause, and the provider's, with which every queue of the same budget goes
 * on. A provider that still refuses pauses it again. Returns the names of those queues.
 * @param name the queue's name, or `entry:model`
 * @throws InputError `unknown_queue`
 */
export async function resumeQueue(store: Store, { limits }: Settings, name: string): Promise<string[]> {
  const queue = await findQueue(store, name);
  const names = await registeredQueues(store);
  const key = keyOf(queue);
  const id = budgetId(limits, key);
  const sharing = names.filter((other) => budgetId(limits, keyOf(other)) === id);
  await liftPause(store, id, sharing);
  if (id !== key) await liftPause(store, key, [queue]);
  await withQueue(store, queue, async (bullmq) => {
    if (await bullmq.isPaused()) await bullmq.resume();
  });
  return sharing;
}

/**
 * Lets workers take no jobs of a queue until it is resumed. Returns its name.
 * @param name the same, or `entry:model`
 * @throws InputError `unknown_queue`
 */
export async function pauseQueue(store: Store, name: string): Promise<string> {
  const queue = await findQueue(store, name);
  await withQueue(store, queue, (bullmq) => bullmq.pause());
  return queue;
}

function keyOf(queue: string): string {
  return parseCompletionQueueName(queue)?.key ?? queue;
}

/** Returns the queue's name. @param name the same, or `entry:model` @throws InputError `unknown_queue` */
export async function findQueue(store: Store, name: string): Promise<string> {
  const names = await registeredQueues(store);
  const queue = names.find((known) => known === name || keyOf(known) === name);
  if (queue) return queue;
  const keys = names.map(keyOf).sort();
  const known = keys.length > 0 ? `one of ${keys.join(", ")}` : "none yet";
  const hint = hintOf(didYouMean(name, keys), `gluellm queues lists them: ${known}`);
  throw new InputError(`no queue ${name}`, hint, "unknown_queue");
}
