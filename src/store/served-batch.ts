import { z } from "zod";
import { type BatchRecord, batchStatusSchema } from "../shared/records.ts";
import { readStored } from "../shared/stored-data.ts";
import { DEFAULT_TENANT, isOwnedBy, ownerFields, storedOwner } from "../shared/tenant.ts";
import { readBatch } from "./batch.ts";
import { ANNOUNCE, ANNOUNCE_BATCH } from "./outbox.ts";
import { repliesOf } from "./redis.ts";
import { Script } from "./script.ts";
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
 *
 * Fence: each move names the states that it may come from, and the file ids are those of the record: a host that was lost
 * and comes back can only do once more what its successor does.
 */

/** A record outlives the batch's end, and before it the window, by this long. */
const KEEP_MS = 30 * 86_400_000;
/** What hosts listen to of the topic `batch`: there is a new one. */
export const NEW_BATCH = "new";
/** Batches looked at at a time. */
const PAGE = 100;

export const SERVED_ENDPOINTS = ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"] as const;
/** Of lines of Anthropic's Message Batches; ids of such batches have a prefix of their own. */
export const MESSAGES_ENDPOINT = "/v1/messages";

const time = z.coerce.number().optional();
const json = <T extends z.ZodType>(schema: T) =>
  z
    .string()
    .transform((text): unknown => JSON.parse(text))
    .pipe(schema);

/** What is wrong with a batch, or one line of its input. */
export interface BatchFault {
  code: string;
  message: string;
  line: number | null;
  param: string | null;
}
const faultSchema: z.ZodType<BatchFault> = z.object({
  code: z.string(),
  message: z.string(),
  line: z.number().nullable(),
  param: z.string().nullable(),
});

/** Times are epoch milliseconds. */
const servedBatchSchema = z.object({
  id: z.string(),
  ...ownerFields,
  status: batchStatusSchema,
  endpoint: z.enum([...SERVED_ENDPOINTS, MESSAGES_ENDPOINT]),
  inputFileId: z.string(),
  /** The ids that its results get, if there are any; which, `outputs` says at the end. */
  outputFileId: z.string(),
  errorFileId: z.string(),
  outputs: json(z.object({ output: z.boolean(), errors: z.boolean() })).optional(),
  /** `24h` */
  completionWindow: z.string(),
  outputLifeSeconds: z.coerce.number(),
  /** Of a key with a cost limit: each model needs a price. */
  needsPrices: z.literal("true").optional(),
  metadata: json(z.record(z.string(), z.string())).optional(),
  faults: json(z.array(faultSchema)).optional(),
  createdAt: z.coerce.number(),
  expiresAt: z.coerce.number(),
  inProgressAt: time,
  finalizingAt: time,
  completedAt: time,
  failedAt: time,
  expiredAt: time,
  cancellingAt: time,
  cancelledAt: time,
});
export type ServedBatch = z.infer<typeof servedBatchSchema>;
export type ServedStatus = ServedBatch["status"];

/** Its counts and sums come from the run's record; undefined before that has begun. */
export interface ServedBatchView {
  batch: ServedBatch;
  run: BatchRecord | undefined;
}

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
    | "createdAt"
    | "expiresAt"
  > & { metadata: Record<string, string> | undefined },
): Promise<boolean> {
  const { redis, keys } = store;
  const { id, tenant, by, metadata, ...fields } = batch;
  const given = {
    ...fields,
    ...storedOwner({ tenant, by }),
    ...(metadata && { metadata: JSON.stringify(metadata) }),
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
    { args: Object.entries(given).flat() },
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

/** Returns a page of a tenant's batches whose ids begin with `prefix`, the newest first, and whether there are more; ids whose record has expired go. */
export async function listServedBatches(
  store: Store,
  {
    tenant,
    prefix,
    after,
    limit,
  }: { tenant: string; prefix: string; after?: string | undefined; limit: number },
): Promise<{ batches: ServedBatchView[]; hasMore: boolean }> {
  const { redis, keys } = store;
  const key = keys.servedBatches(tenant);
  const batches: ServedBatchView[] = [];
  for (let last = after; ; ) {
    const start = last === undefined ? `[${prefix}~` : `(${last}`;
    const ids = await redis.zrevrangebylex(key, start, `[${prefix}`, "LIMIT", 0, PAGE);
    const found = await Promise.all(ids.map((id) => viewServedBatch(store, id, tenant)));
    const gone = ids.filter((_, i) => found[i] === undefined);
    if (gone.length > 0) await redis.zrem(key, ...gone);
    for (const view of found) {
      if (!view) continue;
      if (batches.length === limit) return { batches, hasMore: true };
      batches.push(view);
    }
    if (ids.length < PAGE) return { batches, hasMore: false };
    last = ids.at(-1);
  }
}

/** Returns the ids of the batches that have not ended, the oldest first. */
export async function openServedBatches({ redis, keys }: Store): Promise<string[]> {
  return await redis.zrange(keys.openServedBatches, "0", "-1");
}

/** Returns the ids of the files that batches read which have not ended. */
export async function filesInUse(store: Store): Promise<Set<string>> {
  const open = await openServedBatches(store);
  const pipeline = store.redis.pipeline();
  for (const id of open) pipeline.hget(store.keys.servedBatch(id), "inputFileId");
  return new Set((open.length === 0 ? [] : await repliesOf(pipeline)).map(String));
}

/** Takes off the list of open batches what has no record any more. */
export async function forgetServedBatch({ redis, keys }: Store, id: string): Promise<void> {
  await redis.zrem(keys.openServedBatches, id);
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

const ENDED: readonly ServedStatus[] = ["completed", "failed", "expired", "cancelled"];

interface Move {
  from: readonly ServedStatus[];
  to: Exclude<ServedStatus, "validating">;
  outputs?: ServedBatch["outputs"];
  faults?: readonly BatchFault[];
}

/** Moves a batch on, if it is in one of the states `from`. Returns the status that it has then; undefined without a record. */
export async function moveServedBatch(
  { redis, keys }: Store,
  id: string,
  { from, to, outputs, faults }: Move,
): Promise<ServedStatus | undefined> {
  const stamp = `${to.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())}At`;
  const isEnd = ENDED.includes(to);
  const fields = Object.entries({ outputs, faults }).flatMap(([name, value]) =>
    value === undefined ? [] : [name, JSON.stringify(value)],
  );
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
  { redis, keys }: Store,
  id: string,
  faults: readonly BatchFault[],
): Promise<void> {
  await redis.hset(keys.servedBatch(id), "faults", JSON.stringify(faults));
}

/** Asks a batch's host to end it. Returns the status that it has then; undefined without a record. */
export async function cancelServedBatch(store: Store, id: string): Promise<ServedStatus | undefined> {
  const status = await moveServedBatch(store, id, { from: ["validating", "in_progress"], to: "cancelling" });
  await notify(store, "batch", id);
  return status;
}
