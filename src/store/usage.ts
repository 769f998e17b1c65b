import { policyOf } from "../shared/error-policy.ts";
import { modelRef } from "../shared/model-name.ts";
import type { TokenUse } from "../shared/token-use.ts";
import type { RedisKeys } from "./redis-keys.ts";
import type { Store } from "./store.ts";

/*
 * What a budget key used, counted where a call ended: a hash `:usage:<key>:<slot>` per second, which lives for three
 * minutes. It is only ever added to: by the script that writes a result record (`COUNT_USAGE`), by `countCall` for calls
 * whose record comes late or never, and by `countFailedCall`.
 */

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
const USAGE_TTL_SECONDS = 180;

/** Lua: `countUsage(usage, calls, tokens, outputTokens)` adds answered calls to the counter of a second. */
export const COUNT_USAGE = `
  local function countUsage(usage, calls, tokens, outputTokens)
    redis.call('HINCRBY', usage, 'requests', calls)
    redis.call('HINCRBY', usage, 'outputTokens', outputTokens)
    -- All who count add tokens, so that the first of a counter does here, too.
    if redis.call('HINCRBY', usage, 'tokens', tokens) == tokens then redis.call('EXPIRE', usage, ${USAGE_TTL_SECONDS}) end
  end
`;

/** Returns the key of the counter of a second, by default the present one. */
export function usageKey(keys: RedisKeys, budgetKey: string, nowMs = Date.now()): string {
  return `${keys.usage(budgetKey)}:${Math.floor(nowMs / 1000)}`;
}

/** Returns the fleet's use of a key in the whole seconds since `sinceMs`, at most the last minute, as a rate per minute. */
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

/** What a key used in a few seconds. */
export interface UsageStep extends Usage {
  /** When the step began, in epoch milliseconds. */
  at: number;
}

const STEP_SECONDS = 5;
const STEPS = 34;

/** Returns the fleet's use of a key in the last minutes, in steps of `stepMs`, the earliest first. */
export async function usageSeries(
  store: Store,
  budgetKey: string,
): Promise<{ stepMs: number; steps: UsageStep[] }> {
  // The present step is not over.
  const end = Math.floor(Date.now() / 1000 / STEP_SECONDS) * STEP_SECONDS;
  const first = end - STEPS * STEP_SECONDS;
  const pipeline = store.redis.pipeline();
  for (let second = first; second < end; second++)
    pipeline.hmget(usageKey(store.keys, budgetKey, second * 1000), ...COUNTERS);
  const replies = ((await pipeline.exec()) ?? []).map(([, values]) => (values ?? []) as (string | null)[]);
  const steps = Array.from({ length: STEPS }, (_, n) => {
    const seconds = replies.slice(n * STEP_SECONDS, (n + 1) * STEP_SECONDS);
    const sums = COUNTERS.map((name, i) => [
      name,
      seconds.reduce((sum, values) => sum + Number(values[i] ?? 0), 0),
    ]);
    return { ...(Object.fromEntries(sums) as Usage), at: (first + n * STEP_SECONDS) * 1000 };
  });
  return { stepMs: STEP_SECONDS * 1000, steps };
}

/** Counts an answered call of a job of several at once: its record comes late, or never, and cannot say which model used what. */
export async function countCall(
  store: Store,
  { entry, model, tokens }: { entry: string; model: string; tokens: Pick<TokenUse, "total" | "completion"> },
) {
  const usage = usageKey(store.keys, modelRef(entry, model).key);
  const pipeline = store.redis
    .pipeline()
    .hincrby(usage, "requests", 1)
    .hincrby(usage, "tokens", tokens.total);
  await pipeline.hincrby(usage, "outputTokens", tokens.completion).expire(usage, USAGE_TTL_SECONDS).exec();
}

interface FailedCall {
  budgetKey: string;
  error: unknown;
  /** Another attempt follows. */
  isRepeated: boolean;
  batchId: string | undefined;
}

/** Counts a call that brought no result, if one was made: the provider saw it all the same. */
export async function countFailedCall(
  store: Store,
  { budgetKey, error, isRepeated, batchId }: FailedCall,
): Promise<void> {
  const { counts } = policyOf(error);
  if (counts === "nothing") return;
  const usage = usageKey(store.keys, budgetKey);
  const counter = counts === "rateLimited" ? "rateLimited" : isRepeated ? "retries" : undefined;
  const pipeline = store.redis.pipeline().hincrby(usage, counter === "rateLimited" ? counter : "requests", 1);
  pipeline.expire(usage, USAGE_TTL_SECONDS);
  if (batchId && counter) pipeline.hincrby(store.keys.batch(batchId), counter, 1);
  await pipeline.exec();
}
