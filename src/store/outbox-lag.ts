import { clockOf } from "./redis-clock.ts";
import type { Store } from "./store.ts";

/** What the outbox still holds for one of its readers (see `outbox.ts`). */
export interface OutboxLag {
  name: "history" | "webhooks" | "audit";
  /** Events that nobody has taken, or that were taken and not acknowledged. */
  entries: number;
  /** How long the oldest of them has waited; 0 without one. */
  oldestMs: number;
}

/** Returns how far the readers of the outbox are behind; those that never had anything to read are left out. */
export async function outboxLags(store: Store): Promise<OutboxLag[]> {
  const now = await clockOf(store).fresh();
  const lags = await Promise.all(
    (["history", "webhooks", "audit"] as const).map(async (name): Promise<OutboxLag[]> => {
      const stream = `${store.keys.outbox}:${name}`;
      if ((await store.redis.exists(stream)) === 0) return [];
      const entries = await waiting(store, stream);
      const [oldest] = entries > 0 ? await store.redis.xrange(stream, "-", "+", "COUNT", 1) : [];
      return [{ name, entries, oldestMs: oldest ? Math.max(0, now - Number(oldest[0].split("-")[0])) : 0 }];
    }),
  );
  return lags.flat();
}

/** Without a group that reads it, all of it waits. */
async function waiting(store: Store, stream: string): Promise<number> {
  const groups = (await store.redis.xinfo("GROUPS", stream)) as (string | number | null)[][];
  const fields = groups.map((group) => new Map(group.map((name, i) => [String(name), group[i + 1]])));
  const length = await store.redis.xlen(stream);
  if (fields.length === 0) return length;
  const behind = fields.map(
    (group) => Number(group.get("lag") ?? length) + Number(group.get("pending") ?? 0),
  );
  return Math.max(...behind);
}
