import { type ErrorRecord, errorRecordSchema } from "../shared/error-record.ts";
import { InputError } from "../shared/errors.ts";
import {
  type BatchRecord,
  type BatchStatus,
  batchRecordSchema,
  type LeaseHolder,
  leaseHolderSchema,
} from "../shared/records.ts";
import type { Store } from "./store.ts";
import { notify } from "./topics.ts";

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

/** A batch as a person or a program sees it. */
export interface BatchView extends Omit<BatchRecord, "costUsd" | "options" | "stop" | "unpriced"> {
  /** USD of the succeeded rows; null when the cost of one of them is not known. */
  costUsd: number | null;
  /** Which of `promptField`, `limitRows`, `strict` it was run with. */
  options: Record<string, unknown>;
  /** Why no further row may start. */
  stop?: ErrorRecord;
  /** Whose run sends its rows now; absent when none does. */
  runner?: LeaseHolder;
}

/** Returns everything known of a batch. @throws InputError `unknown_batch` when Redis has no record of it. */
export async function viewBatch(store: Store, batchId: string): Promise<BatchView> {
  const record = (await readBatch(store, batchId)) ?? unknown(batchId);
  const holder = await store.redis.get(store.keys.batchLease(batchId));
  const { options, stop, costUsd, unpriced, ...rest } = record;
  return {
    ...rest,
    costUsd: unpriced > 0 ? null : costUsd,
    options: JSON.parse(options),
    ...(stop && { stop: errorRecordSchema.parse(JSON.parse(stop)) }),
    ...(holder && { runner: leaseHolderSchema.parse(JSON.parse(holder)) }),
  };
}

const CANCELLABLE: readonly BatchStatus[] = ["validating", "in_progress", "failed"];

/**
 * Cancels a batch: its run withdraws the waiting rows, and calls in flight finish. Returns the status it has then, and
 * whether that is new.
 * @throws InputError `unknown_batch` when Redis has no record of it.
 */
export async function cancelBatch(
  store: Store,
  batchId: string,
): Promise<{ status: BatchStatus; isNew: boolean }> {
  const record = (await readBatch(store, batchId)) ?? unknown(batchId);
  if (!CANCELLABLE.includes(record.status)) return { status: record.status, isNew: false };
  const isRunning = (await store.redis.exists(store.keys.batchLease(batchId))) === 1;
  const status = isRunning ? "cancelling" : "cancelled";
  await saveBatch(store, { id: batchId, status });
  await notify(store, "batch", batchId);
  return { status, isNew: true };
}

function unknown(batchId: string): never {
  throw new InputError(
    `no batch ${batchId}`,
    "gluellm batch list shows the ids of the last 30 days",
    "unknown_batch",
  );
}
