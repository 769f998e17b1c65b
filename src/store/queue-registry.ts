import type { Redis } from "ioredis";
import { MAX_QUEUES } from "../shared/catalog.ts";
import { ConfigurationError } from "../shared/errors.ts";
import type { RedisKeys } from "./redis-keys.ts";

/**
 * Makes a queue known to workers and dashboards. Registering twice is harmless.
 * @throws ConfigurationError when the namespace already has 100 queues.
 */
export async function registerQueue(redis: Redis, keys: RedisKeys, queue: string): Promise<void> {
  const isNew = await redis.hsetnx(keys.queues, queue, JSON.stringify({ registeredAt: Date.now() }));
  if (isNew && (await redis.hlen(keys.queues)) > MAX_QUEUES) {
    await redis.hdel(keys.queues, queue);
    throw new ConfigurationError(
      `queue ${queue} would be number ${MAX_QUEUES + 1} of this namespace`,
      `at most ${MAX_QUEUES} models share a namespace; use another GLUELLM_NAMESPACE`,
      "too_many_queues",
    );
  }
  await redis.publish(keys.channel, `queue:${queue}`);
}

export async function registeredQueues(redis: Redis, keys: RedisKeys): Promise<string[]> {
  return (await redis.hkeys(keys.queues)).sort();
}
