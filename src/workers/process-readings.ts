import type { ProviderAdapter } from "../providers/provider.ts";
import type { ProcessReading } from "../telemetry/metrics.ts";
import type { WorkerContext } from "./context.ts";

/** Returns what metrics read off a worker process. */
export function processReadings(
  { jobs, limiter }: WorkerContext,
  adapters: ReadonlyMap<string, ProviderAdapter>,
): ProcessReading[] {
  const waiting = [...limiter.waiting()].map(([budget, value]) => ({
    name: "gluellm_budget_waiting" as const,
    labels: { budget },
    value,
  }));
  const pools = [...adapters].flatMap(([provider, adapter]) =>
    Object.entries(adapter.connections()).map(([state, value]) => ({
      name: "gluellm_http_pool_connections" as const,
      labels: { provider, state },
      value,
    })),
  );
  return [{ name: "gluellm_active_jobs", labels: {}, value: jobs.active }, ...waiting, ...pools];
}
