import type { Settings } from "../shared/settings.ts";
import type { Metrics, MetricValues } from "./metrics.ts";
import type { MetricsRegistry } from "./metrics-registry.ts";
import { poolReadings } from "./pool-readings.ts";

let opened: Promise<MetricsRegistry> | undefined;

/**
 * Returns what the process counts its work with: undefined unless the settings ask for metrics, or the program has registered a meter
 * provider of OpenTelemetry. All parts of a process share one.
 */
export async function openMetrics({ metrics }: Pick<Settings, "metrics">): Promise<Metrics | undefined> {
  if (!metrics.enabled) {
    const { hasMeterProvider } = await import("./metrics-otel.ts");
    if (!hasMeterProvider()) return undefined;
  }
  opened ??= import("./metrics-registry.ts").then(({ MetricsRegistry }) => {
    const registry = new MetricsRegistry();
    registry.follow(poolReadings);
    return registry;
  });
  return (await opened).followMeter();
}

/**
 * Returns what this process has counted so far, one object per metric with all its series, as prom-client has them; empty unless
 * metrics are on (`GLUELLM_ENABLE_METRICS`, `GLUELLM_ENABLE_METRICS_SERVER`, or a registered meter provider).
 */
export async function getMetrics(): Promise<MetricValues[]> {
  return (await opened)?.values() ?? [];
}
