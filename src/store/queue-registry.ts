import { hasRuns, MAX_QUEUES } from "../shared/catalog.ts";
import { ConfigurationError } from "../shared/errors.ts";
import { isQueueName } from "../shared/queue-name.ts";
import type { Store } from "./store.ts";
import { notify } from "./topics.ts";

/*
 * The queues of a namespace: the hash `:queues`, name → JSON of when it was registered. A name is never removed, but for
 * one too many; who adds jobs registers their queue again every few seconds, since Redis may have been emptied.
 */

/**
 * Makes a queue known to workers and dashboards. Registering twice is harmless.
 * @throws ConfigurationError when the namespace already has 100 queues; those of workflows do not count.
 */
export async function registerQueue(store: Store, queue: string): Promise<void> {
  const isNew = await store.redis.hsetnx(
    store.keys.queues,
    queue,
    JSON.stringify({ registeredAt: Date.now() }),
  );
  if (
    isNew &&
    !hasRuns(queue) &&
    (await registeredQueues(store)).filter((name) => !hasRuns(name)).length > MAX_QUEUES
  ) {
    await store.redis.hdel(store.keys.queues, queue);
    throw new ConfigurationError(
      `queue ${queue} would be number ${MAX_QUEUES + 1} of this namespace`,
      `at most ${MAX_QUEUES} models share a namespace; use another GLUELLM_NAMESPACE`,
      "too_many_queues",
    );
  }
  await notify(store, "queue", queue);
}

/** Returns the names of the namespace's queues, sorted; without what can be no queue's name. */
export async function registeredQueues(store: Store): Promise<string[]> {
  return (await store.redis.hkeys(store.keys.queues)).filter(isQueueName).sort();
}

/** Returns what stands in the registry and can be no queue's name. */
export async function malformedQueueNames(store: Store): Promise<string[]> {
  return (await store.redis.hkeys(store.keys.queues)).filter((name) => !isQueueName(name));
}
