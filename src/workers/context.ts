import type { Redis } from "ioredis";
import type { Logger } from "../shared/logger.ts";
import type { RedisKeys } from "../shared/redis-keys.ts";
import type { Settings } from "../shared/settings.ts";
import type { Tool } from "../shared/tool.ts";
import type { CacheStore } from "./cache-store.ts";
import type { CallCosts } from "./call-costs.ts";
import type { CircuitBreaker } from "./circuit-breaker.ts";
import type { FleetBudgets } from "./fleet-budgets.ts";
import type { ProcessLoad } from "./process-load.ts";
import type { ProviderAdapter } from "./providers/adapter.ts";
import type { RateLimiter } from "./rate-limiter.ts";

/** What all jobs of one worker process share. */
export interface WorkerContext {
  /** The process's one command connection. */
  redis: Redis;
  keys: RedisKeys;
  settings: Settings;
  logger: Logger;
  budgets: FleetBudgets;
  limiter: RateLimiter;
  costs: CallCosts;
  /** Undefined when it is switched off. */
  cache: CacheStore | undefined;
  /** Undefined when it is switched off. */
  breaker: CircuitBreaker | undefined;
  load: ProcessLoad;
  /** By name. */
  tools: ReadonlyMap<string, Tool>;
  adapterOf: (entry: string) => ProviderAdapter;
  /** Aborts when the process starts to drain: jobs that have not called the provider go back at once. */
  draining: AbortSignal;
}
