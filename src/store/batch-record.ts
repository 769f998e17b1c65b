import type { Redis } from "ioredis";
import { type BatchRecord, batchRecordSchema } from "../shared/records.ts";
import type { RedisKeys } from "./redis-keys.ts";

/** A batch's record outlives its last change by this long. */
const BATCH_TTL_SECONDS = 30 * 86_400;

/** Writes some fields of a batch's record, and keeps it in the list of batches. */
export async function saveBatch(
  redis: Redis,
  keys: RedisKeys,
  batch: Partial<BatchRecord> & Pick<BatchRecord, "id">,
): Promise<void> {
  const fields = Object.entries({ ...batch, updatedAt: Date.now() }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, String(value)],
  );
  const key = keys.batch(batch.id);
  const now = Date.now();
  await redis
    .multi()
    .hset(key, ...fields)
    .hsetnx(key, "createdAt", String(now))
    .expire(key, BATCH_TTL_SECONDS)
    .zadd(keys.batches, "NX", now, batch.id)
    .zremrangebyscore(keys.batches, 0, now - BATCH_TTL_SECONDS * 1000)
    .exec();
}

/** The record, or undefined when Redis has none (unknown id, or older than 30 days). */
export async function readBatch(
  redis: Redis,
  keys: RedisKeys,
  batchId: string,
): Promise<BatchRecord | undefined> {
  const fields = await redis.hgetall(keys.batch(batchId));
  const parsed = batchRecordSchema.safeParse(fields);
  return parsed.success ? parsed.data : undefined;
}

/** The newest batches, newest first. */
export async function listBatches(redis: Redis, keys: RedisKeys, limit = 20): Promise<BatchRecord[]> {
  const ids = await redis.zrevrange(keys.batches, 0, limit - 1);
  const records = await Promise.all(ids.map((id) => readBatch(redis, keys, id)));
  return records.filter((record) => record !== undefined);
}
