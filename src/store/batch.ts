import { type ErrorRecord, errorRecordSchema } from "../shared/error-record.ts";
import { InputError } from "../shared/errors.ts";
import { type FailureCause, failureCauseSchema } from "../shared/failure-causes.ts";
import { parseJson } from "../shared/json.ts";
import {
  type BatchRecord,
  type BatchStatus,
  batchRecordSchema,
  type LaneStatus,
  type LeaseHolder,
  laneStatusSchema,
} from "../shared/records.ts";
import { isWrongType } from "../shared/stored-data.ts";
import { isOwnedBy } from "../shared/tenant.ts";
import { readLease } from "./batch-lease.ts";
import { ANNOUNCE, ANNOUNCE_BATCH } from "./outbox.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { notify, publish } from "./topics.ts";

/*
 * A batch: a hash at `batch:<id>`, listed by its creation time in the sorted set `batches`. Its `status`:
 *
 * | from                | to                             | by            | who                                       |
 * |---------------------|--------------------------------|---------------|-------------------------------------------|
 * | any                 | in_progress                    | `startBatch`  | the row sender, which has the lease       |
 * | in_progress         | finalizing, then completed     | `saveBatch`   | the same: all rows are in the file        |
 * | in_progress         | failed, cancelled, in_progress | `saveBatch`   | the same: stopped, cancelled, interrupted |
 * | in_progress, failed | cancelling, cancelled          | `cancelBatch` | an operator, with a runner and without    |
 *
 * Beside it: `stop`, why no further row may start, which `stopBatch` sets once and `startBatch` takes away, and the same
 * for the rows of one model as `stop:<entry:model>` (see refused-rows.ts); the counts
 * of the row sender (`saveBatch`) and of the workers (usage.ts); the ledger of its cost limit (cost-ledger.ts).
 */

/** A batch's record outlives its last change by this long. */
const BATCH_TTL_SECONDS = 30 * 86_400;

/** The kind of what is encrypted of a batch's record: its failures have the messages of errors. */
const FAILURES = "batch failures";
/** Batches looked at at a time. */
const PAGE = 100;

/**
 * Writes some fields of a batch's record, and keeps it in the list of batches.
 * Keys: the batch, the list of batches, the record of a batch of the API under this id, the outbox. Arguments: the `id`, the time
 * `at`, the `status` or nothing; then names and values of fields. Returns nothing. Called by `saveBatch`. Fence: none, or the
 * batch's lease. A batch of the API tells of its states itself.
 */
const SAVE = new Script({
  keys: ["batch", "batches", "served", "outbox"],
  args: { id: "text", at: "number", status: "text" },
  moreArgs: "fields",
  lua: `${ANNOUNCE}${ANNOUNCE_BATCH}
    local isNew = status ~= '' and redis.call('HGET', batch, 'status') ~= status
    redis.call('HSET', batch, unpack(fields))
    redis.call('HSETNX', batch, 'createdAt', string.format('%.0f', at))
    redis.call('EXPIRE', batch, ${BATCH_TTL_SECONDS})
    redis.call('ZADD', batches, 'NX', at, id)
    redis.call('ZREMRANGEBYSCORE', batches, 0, at - ${BATCH_TTL_SECONDS * 1000})
    if isNew and redis.call('EXISTS', served) == 0 then announceBatch(batch, batch, id, status) end
  `,
});

/** Writes some fields of a batch's record, and keeps it in the list of batches. */
export async function saveBatch(
  store: Store,
  batch: Partial<BatchRecord> & Pick<BatchRecord, "id">,
): Promise<void> {
  const { redis, keys } = store;
  const { id, status = "" } = batch;
  const at = Date.now();
  const failures = batch.failures && (await store.sealing.seal(FAILURES, id, batch.failures));
  const fields = Object.entries({ ...batch, failures, updatedAt: at }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, String(value)],
  );
  await SAVE.run(
    redis,
    { batch: keys.batch(id), batches: keys.batches, served: keys.servedBatch(id), outbox: keys.outbox },
    { id, at, status },
    { args: fields },
  );
}

/** Writes the record of a batch that begins, or goes on: an earlier run's stop or cancellation ends with it. */
export async function startBatch(
  store: Store,
  {
    maxCostUsd,
    ...batch
  }: Pick<
    BatchRecord,
    "id" | "input" | "output" | "options" | "maxCostUsd" | "quotedUsd" | "rowIds" | "tenant" | "by"
  >,
): Promise<void> {
  const key = store.keys.batch(batch.id);
  // The limit of this run stands before any worker goes on.
  if (maxCostUsd === undefined) await store.redis.hdel(key, "maxCostUsd");
  else await store.redis.hset(key, "maxCostUsd", maxCostUsd);
  const stops = (await store.redis.hkeys(key)).filter((field) => /^stop(:|$)/.test(field));
  if (stops.length > 0) await store.redis.hdel(key, ...stops);
  await saveBatch(store, { ...batch, status: "in_progress" });
}

/** False when Redis has lost what `startBatch` wrote. */
export async function hasBatch(store: Store, batchId: string): Promise<boolean> {
  return (await store.redis.hexists(store.keys.batch(batchId), "input")) === 1;
}

/**
 * Says why no further row of a batch may start; the first reason stands. Its row sender wakes and withdraws what waits,
 * and workers send back the rows they hold without having called the provider yet.
 */
export async function stopBatch(store: Store, batchId: string, reason: ErrorRecord): Promise<void> {
  await store.redis.hsetnx(store.keys.batch(batchId), "stop", JSON.stringify(reason));
  const messages = publish(store.redis.multi(), store.keys, "batch", batchId);
  await publish(messages, store.keys, "stop", batchId).exec();
}

/** Returns why no further row may start, if so: the reason of a stop, or an operator's cancellation. */
export async function readStop(
  store: Store,
  batchId: string,
): Promise<ErrorRecord | "cancelled" | undefined> {
  const [stop, status] = await store.redis.hmget(store.keys.batch(batchId), "stop", "status");
  if (stop) return errorRecordSchema.parse(JSON.parse(stop));
  return status === "cancelling" || status === "cancelled" ? "cancelled" : undefined;
}

/** The field of a batch's record that says why no further row of a model may start. */
export function modelStopField(modelKey: string): string {
  return `stop:${modelKey}`;
}

/** Returns why no further row of these models may start, by `entry:model`; those that may go on are left out. */
export async function readModelStops(
  store: Store,
  batchId: string,
  modelKeys: readonly string[],
): Promise<Map<string, ErrorRecord>> {
  // A file of malformed rows alone has no model.
  if (modelKeys.length === 0) return new Map();
  const stops = await store.redis.hmget(store.keys.batch(batchId), ...modelKeys.map(modelStopField));
  return new Map(
    modelKeys.flatMap((key, i) => {
      const stop = stops[i];
      return stop ? [[key, errorRecordSchema.parse(JSON.parse(stop))]] : [];
    }),
  );
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
  tenant?: string,
): Promise<{ status: BatchStatus; isNew: boolean }> {
  const record = await ownBatch(store, batchId, tenant);
  if (!CANCELLABLE.includes(record.status)) return { status: record.status, isNew: false };
  const status = (await readLease(store, batchId)) ? "cancelling" : "cancelled";
  await saveBatch(store, { id: batchId, status });
  await notify(store, "batch", batchId);
  return { status, isNew: true };
}

/** Deletes what only a batch under way needs: its done-list, and what was held of its cost limit. */
export async function forgetBatchWork(store: Store, batchId: string): Promise<void> {
  await store.redis.del(store.keys.batchDone(batchId), store.keys.reserved(store.keys.batch(batchId)));
}

/** Returns the record, or undefined when Redis has none that can be read (unknown id, older than 30 days, damaged). */
export async function readBatch(store: Store, batchId: string): Promise<BatchRecord | undefined> {
  const fields = await store.redis.hgetall(store.keys.batch(batchId)).catch((error: unknown) => {
    if (isWrongType(error)) return {};
    throw error;
  });
  const parsed = batchRecordSchema.safeParse(fields);
  if (!parsed.success) return undefined;
  const { failures = null } = parsed.data;
  // Of what failed one that lacks the key sees the counts alone.
  const opened = await store.sealing.openMaybe(FAILURES, batchId, failures).catch(() => null);
  return { ...parsed.data, failures: opened ?? undefined };
}

/** Returns the newest batches, newest first; those of a tenant alone, where one is given. */
export async function listBatches(store: Store, limit = 20, tenant?: string): Promise<BatchRecord[]> {
  const found: BatchRecord[] = [];
  for (let from = 0; found.length < limit; from += PAGE) {
    const ids = await store.redis.zrevrange(store.keys.batches, from, from + PAGE - 1);
    const records = await Promise.all(ids.map((id) => readBatch(store, id)));
    for (const record of records)
      if (record && (tenant === undefined || isOwnedBy(tenant, record))) found.push(record);
    if (ids.length < PAGE) break;
  }
  return found.slice(0, limit);
}

/** A batch as a person or a program sees it. */
export interface BatchView
  extends Omit<BatchRecord, "costUsd" | "options" | "stop" | "unpriced" | "failures" | "lanes" | "rowIds"> {
  /** USD of the succeeded rows; null when the cost of one of them is not known. */
  costUsd: number | null;
  /**
   * Which of `inputFormat`, `promptField`, `limitRows`, `strict`, `format`, `model` it was run with; `needsCommand`: it was given headers or
   * the like too, which are not kept.
   */
  options: Record<string, unknown>;
  /** Why no further row may start. */
  stop?: ErrorRecord;
  /** What failed in its present run, or its last one, by cause, the most rows first. */
  failures: FailureCause[];
  /** The provider batches that have rows of it now. */
  lanes: LaneStatus[];
  /** Whose run sends its rows now; absent when none does. */
  runner?: LeaseHolder;
}

/** Returns everything known of a batch. @throws InputError `unknown_batch` when Redis has no record of it, or it is another tenant's. */
export async function viewBatch(store: Store, batchId: string, tenant?: string): Promise<BatchView> {
  const record = await ownBatch(store, batchId, tenant);
  const runner = await readLease(store, batchId);
  const { options, stop, costUsd, unpriced, failures, lanes, rowIds: _, ...rest } = record;
  return {
    ...rest,
    costUsd: unpriced > 0 ? null : costUsd,
    options: JSON.parse(options),
    failures: failuresOf({ failures }),
    lanes: lanesOf({ lanes }),
    ...(stop && { stop: errorRecordSchema.parse(JSON.parse(stop)) }),
    ...(runner && { runner }),
  };
}

/** Returns what failed in a batch's present or last run, by cause; nothing where that cannot be read. */
export function failuresOf({ failures }: Pick<BatchRecord, "failures">): FailureCause[] {
  const read = failureCauseSchema.array().safeParse(parseJson(failures ?? "[]"));
  return read.success ? read.data : [];
}

/** Returns the provider batches that have rows of a batch. */
export function lanesOf({ lanes }: Pick<BatchRecord, "lanes">): LaneStatus[] {
  return laneStatusSchema.array().safeParse(parseJson(lanes || "[]")).data ?? [];
}

async function ownBatch(store: Store, batchId: string, tenant: string | undefined): Promise<BatchRecord> {
  const record = (await readBatch(store, batchId)) ?? unknown(batchId);
  return tenant === undefined || isOwnedBy(tenant, record) ? record : unknown(batchId);
}

function unknown(batchId: string): never {
  throw new InputError(
    `no batch ${batchId}`,
    "gluellm batch list shows the ids of the last 30 days",
    "unknown_batch",
  );
}
