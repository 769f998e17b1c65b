import type { Redis } from "ioredis";
import type { RedisKeys } from "./redis-keys.ts";

/** What a budget key used in the fleet, counted where a call ended. */
export interface Usage {
  requests: number;
  tokens: number;
  rateLimited: number;
}

const SLOT_SECONDS = 5;
/** Slots are read for one minute back; the rest of their life only covers clocks that differ. */
export const USAGE_TTL_SECONDS = 180;

/** The counter of the present five seconds. */
export function usageKey(keys: RedisKeys, budgetKey: string, nowMs = Date.now()): string {
  return `${keys.usage(budgetKey)}:${Math.floor(nowMs / 1000 / SLOT_SECONDS)}`;
}

/** The fleet's use of a key since `sinceMs`, at most the last minute, as a rate per minute. */
export async function usagePerMinute(
  redis: Redis,
  keys: RedisKeys,
  budgetKey: string,
  sinceMs: number,
): Promise<Usage> {
  const now = Date.now();
  const start = Math.max(sinceMs, now - 60_000);
  const slots: string[] = [];
  for (let at = start; at <= now + SLOT_SECONDS * 1000; at += SLOT_SECONDS * 1000) {
    const key = usageKey(keys, budgetKey, Math.min(at, now));
    if (slots.at(-1) !== key) slots.push(key);
  }
  const pipeline = redis.pipeline();
  for (const slot of slots) pipeline.hmget(slot, "requests", "tokens", "rateLimited");
  const sums = [0, 0, 0];
  for (const [, values] of (await pipeline.exec()) ?? []) {
    (values as (string | null)[] | null)?.forEach((value, i) => {
      sums[i] = (sums[i] ?? 0) + Number(value ?? 0);
    });
  }
  const perMinute = 60_000 / Math.max(now - start, 1000);
  const [requests = 0, tokens = 0, rateLimited = 0] = sums.map((sum) => Math.round(sum * perMinute));
  return { requests, tokens, rateLimited };
}
