import type { Redis } from "ioredis";
import type { ErrorRecord } from "../shared/errors.ts";
import type { RedisKeys } from "./redis-keys.ts";

/**
 * Says why no further row of a batch may start; the first reason stands. Its feeder wakes and withdraws what waits,
 * and workers send back the rows they hold without having called the provider yet.
 */
export async function stopBatch(
  redis: Redis,
  keys: RedisKeys,
  batchId: string,
  reason: ErrorRecord,
): Promise<void> {
  await redis.hsetnx(keys.batch(batchId), "stop", JSON.stringify(reason));
  await redis
    .multi()
    .publish(keys.channel, `batch:${batchId}`)
    .publish(keys.channel, `stop:${batchId}`)
    .exec();
}
