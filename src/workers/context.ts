import type { CircuitBreaker } from "../limits/circuit-breaker.ts";
import type { FleetBudgets } from "../limits/fleet-budgets.ts";
import type { ProcessLoad } from "../limits/process-load.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";
import type { ProviderAdapter } from "../providers/provider.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { Steps } from "../shared/steps.ts";
import type { Tool } from "../shared/tool.ts";
import type { CacheStore } from "../store/cache.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { Store } from "../store/store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { OutcomeSums } from "../telemetry/outcome-sums.ts";
import type { CallCosts } from "./call-costs.ts";
import type { ToolPlaces } from "./tool-places.ts";

/** What all jobs of one worker process share. */
export interface WorkerContext {
  /** The process's one command connection. */
  store: Store;
  settings: Settings;
  logger: Logger;
  clock: ClockWatch | undefined;
  budgets: FleetBudgets;
  limiter: RateLimiter;
  costs: CallCosts;
  /** Undefined unless somebody asked for metrics. */
  metrics: Metrics | undefined;
  outcomes: OutcomeSums;
  /** Undefined when it is switched off. */
  cache: CacheStore | undefined;
  /** Undefined when it is switched off. */
  breaker: CircuitBreaker | undefined;
  /** By model: when the latest call was sent that this process got an answer to, in epoch milliseconds. */
  answered: Map<string, number>;
  /** Jobs that this process has now, and those it brought to their end. */
  jobs: { active: number; ended: number };
  load: ProcessLoad;
  /** By name. */
  tools: ReadonlyMap<string, Tool>;
  toolPlaces: ToolPlaces;
  /** Functions of steps, by name. */
  steps: ReadonlyMap<string, Steps>;
  adapterOf: (entry: string) => ProviderAdapter;
  /** Aborts when the process starts to drain: jobs that have not called the provider go back at once. */
  draining: AbortSignal;
}
