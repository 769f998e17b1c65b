import type { BatchFault } from "../shared/file-check.ts";
import { BATCH_ENDS } from "../shared/records.ts";
import { readStored } from "../shared/stored-data.ts";
import { DEFAULT_TENANT, isOwnedBy, storedOwner } from "../shared/tenant.ts";
import { readBatch } from "./batch.ts";
import { ANNOUNCE, ANNOUNCE_BATCH } from "./outbox.ts";
import { Script } from "./script.ts";
import {
  type ServedBatch,
  type ServedBatchView,
  type ServedStatus,
  servedBatchSchema,
} from "./served-batch-record.ts";
import type { Store } from "./store.ts";
import { notify } from "./topics.ts";

/*
 * A batch of the API: a hash at `served-batch:<id>`. Its host, whoever holds the lease of that id (batch-lease.ts), runs it as a
 * batch with the same id (batch.ts), which has the counts. Ids sort by time; each tenant's stand in the sorted set
 * `served-batches:<tenant>`, those that have not ended in `served-batches-open`.
 *
 * | from                    | to                            | by                 | who                                     |
 * |-------------------------|-------------------------------|--------------------|-----------------------------------------|
 * | none                    | validating                    | `createServedBatch`| the API                                 |
 * | validating              | in_progress                   | `moveServedBatch`  | its host: every line is a request       |
 * | validating, in_progress | failed                        | the same           | its host: by the lines, or the account  |
 * | in_progress             | finalizing, then completed    | the same           | its host: all rows have results         |
 * | validating, in_progress | expired                       | the same           | its host: the window has passed         |
 * | validating, in_progress | cancelling                    | `cancelServedBatch`| its owner                               |
 * | cancelling              | cancelled                     | `moveServedBatch`  | its host: calls in flight have ended    |
 * | completed, failed, expired, cancelled | none            | `deleteServedBatch`| its owner                               |
 *
 * Beside it: `pausedAt`, from which on its host sends no row (`pauseServedBatch`); the window goes on. `retriedAs`, the batch of its
 * failed rows (`claimRetry`).
 *
 * Fence: each move names the states that it may come from, and the file ids are those of the record: a host that was lost
 * and comes back can only do once more what its successor does.
 */

/** A record outlives the batch's end, and before it the window, by this long. */
const KEEP_MS = 30 * 86_400_000;
const KIND = "served batch";
/** The fields that are encrypted: what callers say of it, and messages that have parts of lines. */
const CONTENTS = ["metadata", "faults"];
/** What hosts listen to of the topic `batch`: there is a new one. */
export const NEW_BATCH = "new";

/**
 * Keys: the record, its tenant's batches, the open batches, its counts, the outbox. Arguments: the `id`; `createdAt`; `expireAt`, when the record goes;
 * then names and values of its fields. Returns: whether it was made. Called by `createServedBatch`. Fence: none; the first record of an id stays.
 */
const CREATE = new Script({
  keys: ["record", "listed", "open", "counts", "outbox"],
  args: { id: "text", createdAt: "number", expireAt: "number" },
  moreArgs: "fields",
  lua: `${ANNOUNCE}${ANNOUNCE_BATCH}
    if redis.call('EXISTS', record) == 1 then return 0 end
    redis.call('HSET', record, 'id', id, 'status', 'validating', unpack(fields))
    redis.call('PEXPIREAT', record, string.format('%.0f', expireAt))
    redis.call('ZADD', listed, 0, id)
    redis.call('ZADD', open, string.format('%.0f', createdAt), id)
    announceBatch(counts, record, id, 'validating')
    return 1
  `,
});

/**
 * Writes the record of a new batch, which any host takes up then. Returns false, and changes nothing, when there is one of that id:
 * the same request came twice.
 */
export async function createServedBatch(
  store: Store,
  batch: Pick<
    ServedBatch,
    | "id"
    | "tenant"
    | "by"
    | "endpoint"
    | "inputFileId"
    | "outputFileId"
    | "errorFileId"
    | "completionWindow"
    | "outputLifeSeconds"
    | "needsPrices"
    | "retryOf"
    | "schedule"
    | "createdAt"
    | "expiresAt"
  > & { metadata: Record<string, string> | undefined },
): Promise<boolean> {
  const { redis, keys } = store;
  const { id, tenant, by, metadata, ...fields } = batch;
  const given = {
    ...fields,
    ...storedOwner({ tenant, by }),
    ...(metadata && { metadata: await store.sealing.seal(KIND, `${id} metadata`, JSON.stringify(metadata)) }),
  };
  const made = await CREATE.run(
    redis,
    {
      record: keys.servedBatch(id),
      listed: keys.servedBatches(tenant ?? DEFAULT_TENANT),
      open: keys.openServedBatches,
      counts: keys.batch(id),
      outbox: keys.outbox,
    },
    { id, createdAt: batch.createdAt, expireAt: batch.expiresAt + KEEP_MS },
    { args: Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [name, value])) },
  );
  if (made !== 1) return false;
  await notify(store, "batch", NEW_BATCH);
  return true;
}

/** Returns a batch, undefined when there is none, or none of that tenant. @throws GlueError `corrupt_data` */
export async function readServedBatch(
  store: Store,
  id: string,
  tenant?: string,
): Promise<ServedBatch | undefined> {
  const fields = await store.redis.hgetall(store.keys.servedBatch(id));
  if (fields.id === undefined) return undefined;
  for (const name of CONTENTS) {
    const stored = fields[name];
    if (stored !== undefined) fields[name] = await store.sealing.open(KIND, `${id} ${name}`, stored);
  }
  const batch = readStored(`the record of ${id}`, () => servedBatchSchema.parse(fields));
  return tenant === undefined || isOwnedBy(tenant, batch) ? batch : undefined;
}

/** Returns a batch of a tenant with its counts; undefined when there is none. */
export async function viewServedBatch(
  store: Store,
  id: string,
  tenant: string,
): Promise<ServedBatchView | undefined> {
  const batch = await readServedBatch(store, id, tenant);
  return batch && { batch, run: await readBatch(store, id) };
}

/**
 * Moves a batch to its next state.
 * Keys: the record, the open batches, its counts, the outbox. Arguments: `from`, the states that it may come from, as `|a|b|`; `to`; `stamp`, the field of the time
 * at which it comes there; `now`; how long an ended one is kept, 0 for one that goes on; then names and values of further fields.
 * Returns: the status that it has then, or nothing when there is no record. Called by `moveServedBatch` and
 * `cancelServedBatch`. Fence: `from`.
 */
const MOVE = new Script({
  keys: ["record", "open", "counts", "outbox"],
  args: { from: "text", to: "text", stamp: "text", now: "number", keepMs: "number" },
  moreArgs: "fields",
  lua: `${ANNOUNCE}${ANNOUNCE_BATCH}
    local status = redis.call('HGET', record, 'status')
    if not status then return false end
    if not from:find('|' .. status .. '|', 1, true) then return status end
    redis.call('HSET', record, 'status', to)
    redis.call('HSETNX', record, stamp, string.format('%.0f', now))
    if #fields > 0 then redis.call('HSET', record, unpack(fields)) end
    if keepMs > 0 then
      redis.call('ZREM', open, redis.call('HGET', record, 'id'))
      redis.call('PEXPIRE', record, keepMs)
    end
    announceBatch(counts, record, redis.call('HGET', record, 'id'), to)
    return to
  `,
});

interface Move {
  from: readonly ServedStatus[];
  to: Exclude<ServedStatus, "validating">;
  outputs?: ServedBatch["outputs"];
  faults?: readonly BatchFault[];
}

/** Moves a batch on, if it is in one of the states `from`. Returns the status that it has then; undefined without a record. */
export async function moveServedBatch(
  { redis, keys, sealing }: Store,
  id: string,
  { from, to, outputs, faults }: Move,
): Promise<ServedStatus | undefined> {
  const stamp = `${to.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())}At`;
  const isEnd = BATCH_ENDS.includes(to);
  const fields = outputs ? ["outputs", JSON.stringify(outputs)] : [];
  if (faults) fields.push("faults", await sealing.seal(KIND, `${id} faults`, JSON.stringify(faults)));
  const status = await MOVE.run(
    redis,
    {
      ...{ record: keys.servedBatch(id), open: keys.openServedBatches },
      ...{ counts: keys.batch(id), outbox: keys.outbox },
    },
    { from: `|${from.join("|")}|`, to, stamp, now: Date.now(), keepMs: isEnd ? KEEP_MS : 0 },
    { args: fields },
  );
  return status === null ? undefined : (String(status) as ServedStatus);
}

/** Writes what is wrong with an input that is still being checked, so that its owner need not wait for the last line. */
export async function noteFaults(
  { redis, keys, sealing }: Store,
  id: string,
  faults: readonly BatchFault[],
): Promise<void> {
  const sealed = await sealing.seal(KIND, `${id} faults`, JSON.stringify(faults));
  await redis.hset(keys.servedBatch(id), "faults", sealed);
}

/** Asks a batch's host to end it. Returns the status that it has then; undefined without a record. */
export async function cancelServedBatch(store: Store, id: string): Promise<ServedStatus | undefined> {
  const status = await moveServedBatch(store, id, { from: ["validating", "in_progress"], to: "cancelling" });
  await notify(store, "batch", id);
  return status;
}

/**
 * Stops the sending of a batch's rows, or lets it go on.
 * Keys: the record. Arguments: whether it `isPaused` from now on; `now`. Returns: the status that it has then, or nothing when there is no record.
 * Called by `pauseServedBatch`. Fence: the states in which rows are still to be sent.
 */
const PAUSE = new Script({
  keys: ["record"],
  args: { isPaused: "flag", now: "number" },
  lua: `
    local status = redis.call('HGET', record, 'status')
    if status == 'validating' or status == 'in_progress' then
      if isPaused then redis.call('HSETNX', record, 'pausedAt', string.format('%.0f', now))
      else redis.call('HDEL', record, 'pausedAt') end
    end
    return status
  `,
});

/** Lets a batch send no row until it is resumed: what waits is withdrawn, calls in flight end. Returns its status; it changes none. */
export async function pauseServedBatch(
  store: Store,
  id: string,
  isPaused: boolean,
): Promise<ServedStatus | undefined> {
  const status = await PAUSE.run(
    store.redis,
    { record: store.keys.servedBatch(id) },
    { isPaused, now: Date.now() },
  );
  await notify(store, "batch", isPaused ? id : NEW_BATCH);
  return status === null ? undefined : (String(status) as ServedStatus);
}

/**
 * Names the batch that sends a batch's failed rows again. Keys: the record. Arguments: `retry`, the id that it gets if it has none. Returns: the id that
 * stands. Called by `claimRetry`. Fence: the first id stays, so that rows are not sent by two batches.
 */
const CLAIM_RETRY = new Script({
  keys: ["record"],
  args: { retry: "text" },
  lua: `
    if redis.call('EXISTS', record) == 0 then return retry end
    redis.call('HSETNX', record, 'retriedAs', retry)
    return redis.call('HGET', record, 'retriedAs')
  `,
});

/** Returns the id of the batch of a batch's failed rows: the given one, if there is none yet. */
export async function claimRetry({ redis, keys }: Store, id: string, retry: string): Promise<string> {
  return String(await CLAIM_RETRY.run(redis, { record: keys.servedBatch(id) }, { retry }));
}

/**
 * Forgets a batch that has ended. Keys: the record, its tenant's batches, its counts, all batches with counts. Arguments: `ended`, the states of an end, as
 * `|a|b|`; the `id`. Returns: the status that it had, or nothing when there is no record. Called by `deleteServedBatch`. Fence: that it has ended.
 */
const DELETE = new Script({
  keys: ["record", "listed", "counts", "batches"],
  args: { ended: "text", id: "text" },
  lua: `
    local status = redis.call('HGET', record, 'status')
    if status and ended:find('|' .. status .. '|', 1, true) then
      redis.call('DEL', record, counts)
      redis.call('ZREM', listed, id)
      redis.call('ZREM', batches, id)
    end
    return status
  `,
});

/** Forgets a batch, if it has ended; its files are the caller's to delete. Returns whether it had ended. */
export async function deleteServedBatch(
  { redis, keys }: Store,
  { id, tenant = DEFAULT_TENANT }: Pick<ServedBatch, "id" | "tenant">,
): Promise<boolean> {
  const status = await DELETE.run(
    redis,
    {
      record: keys.servedBatch(id),
      listed: keys.servedBatches(tenant),
      counts: keys.batch(id),
      batches: keys.batches,
    },
    { id, ended: `|${BATCH_ENDS.join("|")}|` },
  );
  return status === null || BATCH_ENDS.includes(String(status));
}
