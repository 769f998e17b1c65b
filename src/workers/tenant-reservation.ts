import type { RateLimiter, Reservation } from "../limits/rate-limiter.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import { BudgetWaitError, TenantWaitError } from "../shared/unsent-errors.ts";
import { type KnownTenants, tenantBudget, tenantBudgetKey } from "../store/tenant.ts";

/** A call, and whose it is. */
interface TenantCall {
  payload: { tenant?: string | undefined };
  priority: number;
  signal: AbortSignal;
}

/** A job that would wait for its tenant's limits for longer goes back. */
const MAX_TENANT_WAIT_MS = 1000;

/**
 * Takes the call from its tenant's limits; undefined where there are none. Who would wait for longer goes back, so that the
 * slots of workers are for those who may call.
 * @throws TenantWaitError
 */
export async function reserveOfTenant(
  { limiter, tenants }: { limiter: RateLimiter; tenants: KnownTenants },
  { payload: { tenant = DEFAULT_TENANT }, priority, signal }: TenantCall,
  estimate: TokenCounts,
): Promise<Reservation | undefined> {
  const key = tenantBudgetKey(tenant);
  const budget = tenantBudget(tenants, key);
  if (!budget) return undefined;
  const { tpm = Number.POSITIVE_INFINITY } = budget;
  // A call that is larger than a minute of it takes all of that minute.
  const input = Math.min(estimate.input, tpm);
  const tokens = { input, output: Math.min(estimate.output, tpm - input) };
  try {
    return await limiter.acquire(key, { tokens, priority, maxWaitMs: MAX_TENANT_WAIT_MS, signal });
  } catch (error) {
    throw error instanceof BudgetWaitError ? new TenantWaitError(tenant) : error;
  }
}

/** Returns the reservation of a call that counts for a budget and for its tenant. */
export function both(reservation: Reservation, tenants: Reservation | undefined): Reservation {
  if (!tenants) return reservation;
  return {
    waitedMs: reservation.waitedMs,
    settle: (used) => {
      reservation.settle(used);
      tenants.settle(used);
    },
    cancel: () => {
      reservation.cancel();
      tenants.cancel();
    },
  };
}
