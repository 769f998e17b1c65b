import { endOrphanServers } from "../mcp/server-records.ts";
import { type Agent, addParts } from "../shared/agent.ts";
import type { Guardrail } from "../shared/guardrail.ts";
import { bindLogger } from "../shared/logger.ts";
import type { StepFunction } from "../shared/step-function.ts";
import type { Steps } from "../shared/steps.ts";
import type { Tool } from "../shared/tool.ts";
import { ClockWatch } from "../store/clock-watch.ts";
import { ElectedSweep } from "../store/elected-sweep.ts";
import { sweepEnded } from "../store/retention.ts";
import { startTelemetry } from "../telemetry/telemetry.ts";
import type { WorkerOptions } from "../workers/worker-options.ts";
import type { AnyActivity } from "../workflows/activity.ts";
import type { ActivityHost, ActivityHostOptions } from "../workflows/activity-host.ts";
import { type AnyWorkflow, workflowsByName } from "../workflows/workflow.ts";
import type { WorkflowHost, WorkflowHostOptions } from "../workflows/workflow-host.ts";
import { ChildJobs } from "./child-jobs.ts";
import { readVersion } from "./read-version.ts";

/*
 * The one file of the client that sees the other sides: it brings a worker into this process. It is loaded by those that start one.
 */

export interface FleetWorkerOptions
  extends Omit<
    WorkerOptions,
    | "workflowVersions"
    | "activityNames"
    | "tools"
    | "agents"
    | "guardrails"
    | "steps"
    | "startChild"
    | "clock"
    | "metrics"
    | "version"
  > {
  /** By name; those that workflows bring along are added. */
  tools?: Map<string, Tool>;
  agents?: Map<string, Agent>;
  guardrails?: Map<string, Guardrail>;
  steps?: Map<string, Steps>;
  /** Run from the start, beside the model calls and the built-in patterns; absent: none before `runWorkflows`. */
  workflows?: readonly AnyWorkflow[];
  /** Retrievers and evaluators of workflows, by reference. */
  functions?: ReadonlyMap<string, StepFunction>;
  /** Done for runs of any worker. */
  activities?: readonly AnyActivity[];
}

/** How often ended jobs are looked for that are old enough to go. */
const RETENTION_MS = 60_000;
/** How often MCP servers are looked for whose worker was killed. */
const ORPHANS_MS = 15_000;

/** Everything that works in one process. */
export interface FleetWorker {
  id: string;
  /** Takes runs of workflows too, from now on. */
  runWorkflows(): Promise<void>;
  close(): Promise<void>;
}

export async function startWorker(options: FleetWorkerOptions): Promise<FleetWorker> {
  const { workflows, functions, activities = [], ...given } = options;
  const { tools = new Map(), agents = new Map(), guardrails = new Map(), steps = new Map() } = options;
  const code = { tools, agents, guardrails, steps };
  const [{ WorkerProcess }, { Sweeper }, { Ticker }, { WebhookHost }, { CallHost }] = await Promise.all([
    import("../workers/worker-process.ts"),
    import("../workflows/sweeper.ts"),
    import("../schedules/ticker.ts"),
    import("../webhooks/host.ts"),
    import("../batch/lanes/call-host.ts"),
  ]);
  const { dataDir } = options.settings;
  const endOrphans = () => endOrphanServers(dataDir, options.logger);
  endOrphans();
  const orphans = setInterval(endOrphans, ORPHANS_MS).unref();
  const clock = new ClockWatch(options.store, options.logger);
  await clock.start();
  const telemetry = await startTelemetry({ ...options, clock });
  const of = (component: string) => ({
    ...given,
    ...{ clock, metrics: telemetry.metrics, logger: bindLogger(options.logger, { component }) },
  });
  const shared = of("workflows");
  const workflowVersions: Record<string, number> = {};
  const activityNames = activities.map(({ name }) => name);
  const version = readVersion();
  const children = new ChildJobs(options.store, options.settings, code);
  const worker = await WorkerProcess.start({
    ...of("worker"),
    ...code,
    startChild: (call) => children.begin(call),
    workflowVersions,
    activityNames,
    version,
  });
  const sweeper = new Sweeper(shared);
  const ticker = new Ticker(of("schedules"));
  const webhooks = new WebhookHost(of("webhooks"));
  const lanes = new CallHost(of("lanes"));
  const { store, settings, logger } = options;
  const retention = new ElectedSweep({
    store,
    key: store.keys.retentionSweep,
    everyMs: RETENTION_MS,
    clock,
    sweep: () => sweepEnded(store, settings, logger),
  });
  let host: Promise<WorkflowHost> | undefined;
  const runWorkflows = async () => {
    host ??= startHost(
      { ...shared, workerId: worker.id, functions, offerParts: (parts) => addParts(code, parts) },
      workflows,
    );
    Object.assign(workflowVersions, (await host).versions);
    await worker.announce();
  };
  if (workflows) await runWorkflows();
  const doing =
    activities.length > 0 ? await startActivities({ ...shared, activities, workerId: worker.id }) : undefined;
  return {
    id: worker.id,
    runWorkflows,
    close: async () => {
      clearInterval(orphans);
      clock.close();
      await Promise.all([
        host?.then((opened) => opened.close()),
        doing?.close(),
        worker.close(),
        sweeper.close(),
        ticker.close(),
        webhooks.close(),
        lanes.close(),
        retention.close(),
        children.close(),
        telemetry.close(),
      ]);
    },
  };
}

async function startActivities(options: ActivityHostOptions): Promise<ActivityHost> {
  const { ActivityHost } = await import("../workflows/activity-host.ts");
  return new ActivityHost(options);
}

async function startHost(
  options: Omit<WorkflowHostOptions, "workflows">,
  workflows: readonly AnyWorkflow[] = [],
): Promise<WorkflowHost> {
  const [{ WorkflowHost }, { PATTERNS }, { rolloutGroup }] = await Promise.all([
    import("../workflows/workflow-host.ts"),
    import("../patterns/all.ts"),
    import("../rollouts/group-workflow.ts"),
  ]);
  const known = workflowsByName([...Object.values(PATTERNS), rolloutGroup, ...workflows]);
  return new WorkflowHost({ ...options, workflows: [...known.values()] });
}
