import type { GlueLLM } from "../client/glue-llm.ts";
import type { HistoryReader } from "../history/reader.ts";
import type { Logger } from "../shared/logger.ts";
import type { Principal } from "../shared/principal.ts";
import type { Settings } from "../shared/settings.ts";
import type { Audit } from "../store/audit.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What all routes share. */
export interface ApiContext {
  settings: Settings;
  logger: Logger;
  store: ConnectedStore;
  /** Writes down what callers change. */
  audit: Audit;
  /** Absent unless somebody asked for metrics. */
  metrics?: Metrics | undefined;
  /** Opened by the first question; whoever made it closes it. */
  history: HistoryReader;
  /** Returns the client that makes jobs in the name of a key. */
  clientOf(principal: Principal): GlueLLM;
  /** Aborts when the server begins to drain. */
  draining: AbortSignal;
}
