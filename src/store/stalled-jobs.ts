import { jobLockKey, partsOf } from "./bullmq-internals.ts";
import type { Store } from "./store.ts";

/** Active jobs that are looked at of a queue: the longest under way. */
const SAMPLE = 500;

/**
 * Returns how many active jobs of each queue no worker holds any more: theirs died or hang. Living workers take them up within
 * seconds. Queues without any are left out.
 */
export async function stalledJobs(
  store: Store,
  queues: readonly string[],
): Promise<{ queue: string; jobs: number }[]> {
  const found = await Promise.all(
    queues.map(async (queue) => {
      const ids = await store.redis.lrange(partsOf(store, queue).active, -SAMPLE, -1);
      if (ids.length === 0) return { queue, jobs: 0 };
      const locks = await store.redis.mget(ids.map((id) => jobLockKey(store, queue, id)));
      return { queue, jobs: locks.filter((lock) => lock === null).length };
    }),
  );
  return found.filter(({ jobs }) => jobs > 0);
}
