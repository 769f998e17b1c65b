import { repliesOf } from "./redis.ts";
import { viewServedBatch } from "./served-batch.ts";
import type { ServedBatchView } from "./served-batch-record.ts";
import type { Store } from "./store.ts";

/** Batches looked at at a time. */
const PAGE = 100;

export interface ServedBatchPage {
  tenant: string;
  /** Of their ids. */
  prefix: string;
  /** The last id of the page before this one; or `before`, the first id of the page after it. */
  after?: string | undefined;
  before?: string | undefined;
  limit: number;
}

/**
 * Returns a page of a tenant's batches whose ids begin with `prefix`, the newest first, and whether there are more beyond it: older ones, or with `before` newer ones.
 * Ids whose record has expired go.
 */
export async function listServedBatches(
  store: Store,
  { tenant, prefix, after, before, limit }: ServedBatchPage,
): Promise<{ batches: ServedBatchView[]; hasMore: boolean }> {
  const { redis, keys } = store;
  const key = keys.servedBatches(tenant);
  const batches: ServedBatchView[] = [];
  const page = (hasMore: boolean) => ({
    batches: before === undefined ? batches : batches.reverse(),
    hasMore,
  });
  for (let last = before ?? after; ; ) {
    const ids =
      before === undefined
        ? await redis.zrevrangebylex(
            ...([
              key,
              last === undefined ? `[${prefix}~` : `(${last}`,
              `[${prefix}`,
              "LIMIT",
              0,
              PAGE,
            ] as const),
          )
        : await redis.zrangebylex(key, `(${last}`, `[${prefix}~`, "LIMIT", 0, PAGE);
    const found = await Promise.all(ids.map((id) => viewServedBatch(store, id, tenant)));
    const gone = ids.filter((_, i) => found[i] === undefined);
    if (gone.length > 0) await redis.zrem(key, ...gone);
    for (const view of found) {
      if (!view) continue;
      if (batches.length === limit) return page(true);
      batches.push(view);
    }
    if (ids.length < PAGE) return page(false);
    last = ids.at(-1);
  }
}

/** Returns the ids of the batches that a host has something to do for, the oldest first: paused ones only when they are to end. */
export async function runnableServedBatches(store: Store): Promise<string[]> {
  const open = await openServedBatches(store);
  const pipeline = store.redis.pipeline();
  for (const id of open) pipeline.hmget(store.keys.servedBatch(id), "pausedAt", "status", "expiresAt");
  const found = open.length === 0 ? [] : ((await repliesOf(pipeline)) as (string | null)[][]);
  return open.filter((_, i) => {
    const [pausedAt, status, expiresAt] = found[i] ?? [];
    return !pausedAt || status !== "in_progress" || Number(expiresAt) <= Date.now();
  });
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
