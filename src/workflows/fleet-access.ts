import type { ProducerQueues } from "../producers/queues.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { Store } from "../store/store.ts";

/** What runs are started, driven and followed with. */
export interface FleetAccess {
  store: Store;
  settings: Settings;
  queues: ProducerQueues;
  logger: Logger;
}
