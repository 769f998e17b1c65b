import { type BatchRecord, batchRecordSchema } from "../shared/records.ts";
import type { Store } from "./store.ts";

/** A batch's record outlives its last change by this long. */
const BATCH_TTL_SECONDS = 30 * 86_400;

/** Writes some fields of a batch's record, and keeps it in the list of batches. */
export async function saveBatch(
  store: Store,
  batch: Partial<BatchRecord> & Pick<BatchRecord, "id">,
): Promise<void> {
  const fields = Object.entries({ ...batch, updatedAt: Date.now() }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, String(value)],
  );
  const key = store.keys.batch(batch.id);
  const now = Date.now();
  await store.redis
    .multi()
    .hset(key, ...fields)
    .hsetnx(key, "createdAt", String(now))
    .expire(key, BATCH_TTL_SECONDS)
    .zadd(store.keys.batches, "NX", now, batch.id)
    .zremrangebyscore(store.keys.batches, 0, now - BATCH_TTL_SECONDS * 1000)
    .exec();
}

/** The record, or undefined when Redis has none (unknown id, or older than 30 days). */
export async function readBatch(store: Store, batchId: string): Promise<BatchRecord | undefined> {
  const fields = await store.redis.hgetall(store.keys.batch(batchId));
  const parsed = batchRecordSchema.safeParse(fields);
  return parsed.success ? parsed.data : undefined;
}

/** The newest batches, newest first. */
export async function listBatches(store: Store, limit = 20): Promise<BatchRecord[]> {
  const ids = await store.redis.zrevrange(store.keys.batches, 0, limit - 1);
  const records = await Promise.all(ids.map((id) => readBatch(store, id)));
  return records.filter((record) => record !== undefined);
}
