import type { ProducerQueues } from "../producers/queues.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What runs are started, driven and followed with. */
export interface FleetAccess {
  store: ConnectedStore;
  settings: Settings;
  queues: ProducerQueues;
  logger: Logger;
  /** Undefined unless somebody asked for metrics. */
  metrics?: Metrics | undefined;
}
