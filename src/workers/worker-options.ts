import type { Agent } from "../shared/agent.ts";
import type { Guardrail } from "../shared/guardrail.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { Steps } from "../shared/steps.ts";
import type { Tool } from "../shared/tool.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { StartChild } from "./context.ts";

/** What a worker process is started with. */
export interface WorkerOptions {
  /** The process's connections, which stay its owner's to end. */
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  /** Compared with Redis' clock by whoever made it; without it this machine's clock is trusted. */
  clock?: ClockWatch;
  /** Counts the work; absent: nobody asked for metrics. */
  metrics?: Metrics | undefined;
  /** Which queues to serve; `*` stands for any run of characters. Default: all. */
  queueGlobs?: readonly string[];
  /** What jobs may call here, by name; it may grow. */
  tools?: ReadonlyMap<string, Tool>;
  /** Agents that jobs may be handed to, and guardrails, by name; they may grow. */
  agents?: ReadonlyMap<string, Agent>;
  guardrails?: ReadonlyMap<string, Guardrail>;
  /** Begins the jobs of agents that answer calls of tools; absent: such calls fail. */
  startChild?: StartChild;
  /** Functions that jobs name as their steps; they may grow. */
  steps?: ReadonlyMap<string, Steps>;
  /** Jobs at a time from each queue at most. Default: the settings' `workerConcurrency`, else the profile's. */
  concurrency?: number;
  /** The versions of the workflows that this process runs beside it, by name, for its card; they may grow. */
  workflowVersions?: Readonly<Record<string, number>>;
  /** The names of the activities that it does, for its card; they may grow. */
  activityNames?: readonly string[];
  /** The version of the package, for its card. */
  version?: string;
}
