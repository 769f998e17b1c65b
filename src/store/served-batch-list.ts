import { repliesOf } from "./redis.ts";
import { viewServedBatch } from "./served-batch.ts";
import type { ServedBatchView } from "./served-batch-record.ts";
import type { Store } from "./store.ts";

/** Batches looked at at a time. */
const PAGE = 100;

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
