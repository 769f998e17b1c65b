import { clockOf } from "./redis-clock.ts";
import type { Store } from "./store.ts";

/*
 * Cost limits by time, of keys of the API and of tenants: each day and month by UTC has a ledger of its own (cost-ledger.ts),
 * which begins with the first call in it.
 */

/** What calls may cost in a day and in a month by UTC, in USD. */
export interface PeriodLimits {
  maxCostUsdPerDay?: number | undefined;
  maxCostUsdPerMonth?: number | undefined;
}

/** The limits, and how much of an ISO date names the period of each. */
export const PERIODS = [
  { limit: "maxCostUsdPerDay", chars: 10 },
  { limit: "maxCostUsdPerMonth", chars: 7 },
] as const;
/** Longer than any of them, and than a call that begins at its end. */
const PERIOD_KEEP_SECONDS = 40 * 86_400;

/** A ledger that calls count towards. */
export interface PeriodLedger {
  /** Its Redis key. */
  ledger: string;
  /** Of a limit by time, its day or month: `2026-11-29`, `2026-11`. */
  period: string;
}

/** Returns the name of the present day (10 characters) or month (7). */
export function periodOf(store: Store, chars: number): string {
  return new Date(clockOf(store).now()).toISOString().slice(0, chars);
}

/** Returns the ledgers of the limits that are given; those of the present day and month begin here. */
export async function periodLedgers(
  store: Store,
  limits: PeriodLimits,
  keyOf: (period: string) => string,
): Promise<PeriodLedger[]> {
  const ledgers: PeriodLedger[] = [];
  for (const { limit, chars } of PERIODS) {
    const maxCostUsd = limits[limit];
    if (maxCostUsd === undefined) continue;
    const period = periodOf(store, chars);
    const ledger = keyOf(period);
    await store.redis.multi().hset(ledger, { maxCostUsd }).expire(ledger, PERIOD_KEEP_SECONDS).exec();
    ledgers.push({ ledger, period });
  }
  return ledgers;
}

/** Returns what a ledger has of a period's calls, in USD. */
export async function spentIn({ redis }: Store, ledger: string): Promise<number> {
  return Number(await redis.hget(ledger, "spentUsd"));
}
