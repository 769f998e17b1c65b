import type { RedisKeys } from "./redis-keys.ts";
import type { Store } from "./store.ts";

const COUNTERS = ["requests", "tokens", "outputTokens", "rateLimited"] as const;

/** What a budget key used in the fleet, counted where a call ended. */
export interface Usage {
  requests: number;
  /** Input and output together. */
  tokens: number;
  outputTokens: number;
  rateLimited: number;
}

/** Slots are read for one minute back; the rest of their life only covers clocks that differ. */
export const USAGE_TTL_SECONDS = 180;

/** The counter of the present second. */
export function usageKey(keys: RedisKeys, budgetKey: string, nowMs = Date.now()): string {
  return `${keys.usage(budgetKey)}:${Math.floor(nowMs / 1000)}`;
}

/** The fleet's use of a key in the whole seconds since `sinceMs`, at most the last minute, as a rate per minute. */
export async function usagePerMinute(store: Store, budgetKey: string, sinceMs: number): Promise<Usage> {
  const now = Date.now();
  // Another run's calls may lie in the second in which this one began.
  const firstSecond = Math.ceil(Math.max(sinceMs, now - 60_000) / 1000);
  const pipeline = store.redis.pipeline();
  for (let second = firstSecond; second * 1000 <= now; second++) {
    pipeline.hmget(usageKey(store.keys, budgetKey, second * 1000), ...COUNTERS);
  }
  const sums = COUNTERS.map(() => 0);
  for (const [, values] of (await pipeline.exec()) ?? []) {
    (values as (string | null)[] | null)?.forEach((value, i) => {
      sums[i] = (sums[i] ?? 0) + Number(value ?? 0);
    });
  }
  const perMinute = 60_000 / Math.max(now - firstSecond * 1000, 1000);
  const rates = COUNTERS.map((counter, i) => [counter, Math.round((sums[i] ?? 0) * perMinute)]);
  return Object.fromEntries(rates) as Usage;
}
