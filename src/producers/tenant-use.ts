import { readEndCounts } from "../store/error-counts.ts";
import { readFleetFigures } from "../store/fleet-figures.ts";
import { periodOf, spentIn } from "../store/period-ledger.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { listTenants, type TenantSettings } from "../store/tenant.ts";
import { countTenantJobs } from "../store/tenant-queue.ts";

/** What a tenant did lately, and what it may. */
export interface TenantUse {
  tenant: string;
  /** Jobs and runs that ended, and those of them that failed, in the hours that were asked for. */
  ended: number;
  failed: number;
  /** Jobs that wait or run, without rows of batches; of `default` only those that began under its limit `maxQueuedJobs`. */
  openJobs: number;
  /** Rows of its batches under way that have not ended. */
  waitingRows: number;
  settings: TenantSettings;
  /** Whether its stored settings are damaged: they do not hold then. */
  isDamaged: boolean;
  /** Spent under the limit of a day, or month, in USD; undefined without such a limit. */
  spentUsdToday?: number;
  spentUsdThisMonth?: number;
}

/** Returns the tenants that have settings or batches under way, or ended something in the last `sinceMs`, by whole hours; sorted by name. */
export async function readTenantUse(store: Store, sinceMs: number): Promise<TenantUse[]> {
  const now = await clockOf(store).fresh();
  const [known, { counts }, figures] = await Promise.all([
    listTenants(store),
    readEndCounts(store, now - sinceMs, now),
    readFleetFigures(store, { queues: () => false }),
  ]);
  const rows = figures?.tenantRows ?? {};
  const ended = Map.groupBy(
    counts.filter(({ kind }) => kind === "end"),
    ({ tenant }) => tenant,
  );
  const names = [...new Set([...known.keys(), ...ended.keys(), ...Object.keys(rows)])].sort();
  return Promise.all(
    names.map(async (tenant): Promise<TenantUse> => {
      const settings = known.get(tenant) ?? {};
      const own = ended.get(tenant) ?? [];
      const spent = (chars: number) =>
        spentIn(store, store.keys.tenantPeriod(tenant, periodOf(store, chars)));
      const sum = (of: typeof own) => of.reduce((total, { count }) => total + count, 0);
      return {
        tenant,
        ended: sum(own),
        failed: sum(own.filter(({ code }) => code !== "")),
        waitingRows: rows[tenant] ?? 0,
        openJobs: await countTenantJobs(store, tenant),
        settings,
        isDamaged: known.has(tenant) && known.get(tenant) === undefined,
        ...(settings.maxCostUsdPerDay !== undefined && { spentUsdToday: await spent(10) }),
        ...(settings.maxCostUsdPerMonth !== undefined && { spentUsdThisMonth: await spent(7) }),
      };
    }),
  );
}
