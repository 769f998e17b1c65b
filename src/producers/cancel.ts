import type { Redis } from "ioredis";
import { jobCatalog } from "../shared/catalog.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";

/**
 * Cancels one job: a flag that every attempt checks before its call, and a broadcast that aborts a call in flight.
 * The worker records `cancelled`, so that whoever waits for the job wakes.
 */
export async function cancelJob(redis: Redis, keys: RedisKeys, jobId: string): Promise<void> {
  const ttlMs = jobCatalog.completion.batch.deadlineMs;
  await redis
    .multi()
    .set(keys.cancel(jobId), "1", "PX", ttlMs)
    .publish(keys.channel, `cancel:${jobId}`)
    .exec();
}
