import type { CircuitBreaker } from "../limits/circuit-breaker.ts";
import type { FleetBudgets } from "../limits/fleet-budgets.ts";
import type { ProcessLoad } from "../limits/process-load.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";
import type { ProviderAdapter } from "../providers/provider.ts";
import type { Agent } from "../shared/agent.ts";
import type { Guardrail } from "../shared/guardrail.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { Steps } from "../shared/steps.ts";
import type { Tool } from "../shared/tool.ts";
import type { CacheStore } from "../store/cache.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { Store } from "../store/store.ts";
import type { KnownTenants } from "../store/tenant.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { OutcomeSums } from "../telemetry/outcome-sums.ts";
import type { CallCosts } from "./call-costs.ts";
import type { SemanticCache } from "./open-semantic-cache.ts";
import type { SlotlessPlaces } from "./slotless-places.ts";
import type { ToolSets } from "./tool-sets.ts";

/** A call of a tool that another agent answers. */
export interface ChildCall {
  agent: Agent;
  /** What the agent is asked. */
  message: string;
  /** Of the job that calls, where the agent has no model of its own. */
  models: readonly string[];
  parent: { jobId: string; queue: string };
  deadlineMs: number;
  priority: number;
  context: Readonly<Record<string, unknown>>;
  traceparent?: string | undefined;
}

/** Returns the id of the job that was begun; within a tool's run the same one each time. */
export type StartChild = (call: ChildCall) => Promise<string>;

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
  tenants: KnownTenants;
  /** Undefined unless somebody asked for metrics. */
  metrics: Metrics | undefined;
  outcomes: OutcomeSums;
  /** Undefined when it is switched off. */
  cache: CacheStore | undefined;
  /** Undefined unless it is switched on. */
  semantic: SemanticCache | undefined;
  /** Undefined when it is switched off. */
  breaker: CircuitBreaker | undefined;
  /** By model: when the latest call was sent that this process got an answer to, in epoch milliseconds. */
  answered: Map<string, number>;
  /** What was said of lanes that a model does not have: once is enough. */
  laneNotices: Set<string>;
  /** Jobs that this process has now, and those it brought to their end. */
  jobs: { active: number; ended: number };
  load: ProcessLoad;
  /** By name. */
  tools: ReadonlyMap<string, Tool>;
  toolSets: ToolSets;
  toolPlaces: SlotlessPlaces;
  /** Of calls in the tier flex, which take minutes: they must not hold what quick calls need. */
  flexPlaces: SlotlessPlaces;
  agents: ReadonlyMap<string, Agent>;
  /** Those of ours are among them. */
  guardrails: ReadonlyMap<string, Guardrail>;
  /** Begins the job in which an agent answers a call of a tool; undefined in a worker that cannot. */
  startChild: StartChild | undefined;
  /** Functions of steps, by name. */
  steps: ReadonlyMap<string, Steps>;
  adapterOf: (entry: string) => ProviderAdapter;
  /** Aborts when the process starts to drain: jobs that have not called the provider go back at once. */
  draining: AbortSignal;
}
