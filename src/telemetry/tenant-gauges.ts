import { PERIODS, periodOf, spentIn } from "../store/period-ledger.ts";
import type { Store } from "../store/store.ts";
import { listTenants } from "../store/tenant.ts";
import { countTenantJobs } from "../store/tenant-queue.ts";
import type { FleetReading } from "./metrics.ts";
import type { FleetGauge } from "./metrics-catalog.ts";

/** Tenants that have series of their own, by name; each has up to a dozen. */
const MAX_TENANTS = 100;

/**
 * Returns the gauges of the tenants that have settings, or batches under way.
 * @param rows of batches that have not ended, by tenant
 */
export async function readTenantGauges(store: Store, rows: Record<string, number>): Promise<FleetReading[]> {
  const known = await listTenants(store);
  const names = [...new Set([...known.keys(), ...Object.keys(rows)])].sort().slice(0, MAX_TENANTS);
  const readings = await Promise.all(
    names.map(async (tenant): Promise<FleetReading[]> => {
      const { weight, ...limits } = known.get(tenant) ?? {};
      const openJobs = await countTenantJobs(store, tenant);
      const spent = PERIODS.filter(({ limit }) => limits[limit] !== undefined).map(
        async ({ limit, chars }): Promise<[string, number]> => [
          limit,
          await spentIn(store, store.keys.tenantPeriod(tenant, periodOf(store, chars))),
        ],
      );
      const used = [
        ...(limits.maxQueuedJobs === undefined ? [] : [["maxQueuedJobs", openJobs] as const]),
        ...(await Promise.all(spent)),
      ];
      const of = (name: FleetGauge, value: number, limit?: string): FleetReading => ({
        ...{ name, value, labels: { tenant, ...(limit !== undefined && { limit }) } },
      });
      return [
        of("gluellm_tenant_open_jobs", openJobs),
        of("gluellm_tenant_batch_rows", rows[tenant] ?? 0),
        ...Object.entries(limits).map(([limit, value]) => of("gluellm_tenant_limit", value ?? 0, limit)),
        ...used.map(([limit, value]) => of("gluellm_tenant_used", value, limit)),
      ];
    }),
  );
  return readings.flat();
}
