import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { Store } from "../store/store.ts";
import { AlertJudge } from "./alert-judge.ts";
import type { Metrics } from "./metrics.ts";
import { openMetrics } from "./process-metrics.ts";

interface TelemetryOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
  clock: ClockWatch;
}

let isServing = false;

/** What a process tells of itself and of its fleet, where the settings ask for it. */
export interface Telemetry {
  /** Undefined unless somebody asked for metrics. */
  metrics: Metrics | undefined;
  close(): Promise<void>;
}

/**
 * Opens the counters of this process, the metrics server and the judge of alerts, each where it is asked for.
 * @throws ConfigurationError when the metrics server cannot listen
 */
export async function startTelemetry({
  store,
  settings,
  logger,
  clock,
}: TelemetryOptions): Promise<Telemetry> {
  const metrics = await openMetrics(settings);
  const source = { store, settings, metrics };
  // A second one would tell the same counters again.
  const isFirst = settings.metrics.hasServer && !isServing;
  isServing ||= isFirst;
  const server = isFirst
    ? await import("./metrics-server.ts").then(({ startMetricsServer }) => startMetricsServer(source, logger))
    : undefined;
  const judge = new AlertJudge({ store, settings, logger, clock });
  return {
    metrics,
    close: async () => {
      if (isFirst) isServing = false;
      await Promise.all([server?.close(), judge.close()]);
      if (server && store.redis.status === "ready") {
        const { leaveReading } = await import("./metrics-page.ts");
        await leaveReading(store);
      }
    },
  };
}
