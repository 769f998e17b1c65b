import { bindLogger, type Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { addTools, type Tool } from "../shared/tool.ts";
import { checkRedis } from "../store/check-redis.ts";
import { ClockWatch } from "../store/clock-watch.ts";
import { type ConnectedStore, openStore } from "../store/connected-store.ts";
import { ElectedSweep } from "../store/elected-sweep.ts";
import { redisKeys } from "../store/redis-keys.ts";
import { type RedisTarget, redisTarget } from "../store/redis-target.ts";
import { sweepEnded } from "../store/retention.ts";
import { flushTracing, startTracing } from "../telemetry/configure-tracing.ts";
import { flushSentry, startSentry } from "../telemetry/sentry.ts";
import { startTelemetry } from "../telemetry/telemetry.ts";
import type { WorkerOptions } from "../workers/worker-process.ts";
import type { AnyActivity } from "../workflows/activity.ts";
import type { ActivityHost, ActivityHostOptions } from "../workflows/activity-host.ts";
import { type AnyWorkflow, workflowsByName } from "../workflows/workflow.ts";
import type { WorkflowHost, WorkflowHostOptions } from "../workflows/workflow-host.ts";
import { readVersion } from "./read-version.ts";

/*
 * The one file of the client that sees the other sides: it brings Redis and a worker into this process. Each is loaded
 * when it is asked for.
 */

export interface FleetWorkerOptions
  extends Omit<
    WorkerOptions,
    "workflowVersions" | "activityNames" | "tools" | "clock" | "metrics" | "version"
  > {
  /** By name; those that workflows bring along are added. */
  tools?: Map<string, Tool>;
  /** Run from the start, beside the model calls and the built-in patterns; absent: none before `runWorkflows`. */
  workflows?: readonly AnyWorkflow[];
  /** Retrievers and evaluators of workflows, by reference. */
  functions?: ReadonlyMap<string, StepFunction>;
  /** Done for runs of any worker. */
  activities?: readonly AnyActivity[];
}

/** How often ended jobs are looked for that are old enough to go. */
const RETENTION_MS = 60_000;

/** Everything that works in one process. */
export interface FleetWorker {
  id: string;
  /** Takes runs of workflows too, from now on. */
  runWorkflows(): Promise<void>;
  close(): Promise<void>;
}

export async function startWorker(options: FleetWorkerOptions): Promise<FleetWorker> {
  const { tools = new Map(), workflows, functions, activities = [], ...given } = options;
  const [{ WorkerProcess }, { Sweeper }, { Ticker }, { WebhookHost }] = await Promise.all([
    import("../workers/worker-process.ts"),
    import("../workflows/sweeper.ts"),
    import("../schedules/ticker.ts"),
    import("../webhooks/host.ts"),
  ]);
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
  const worker = await WorkerProcess.start({
    ...of("worker"),
    tools,
    workflowVersions,
    activityNames,
    version,
  });
  const sweeper = new Sweeper(shared);
  const ticker = new Ticker(of("schedules"));
  const webhooks = new WebhookHost(of("webhooks"));
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
      { ...shared, workerId: worker.id, functions, offerTool: (tool) => addTools(tools, [tool]) },
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
      clock.close();
      await Promise.all([
        host?.then((opened) => opened.close()),
        doing?.close(),
        worker.close(),
        sweeper.close(),
        ticker.close(),
        webhooks.close(),
        retention.close(),
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
  const [{ WorkflowHost }, { PATTERNS }] = await Promise.all([
    import("../workflows/workflow-host.ts"),
    import("../patterns/all.ts"),
  ]);
  const known = workflowsByName([...Object.values(PATTERNS), ...workflows]);
  return new WorkflowHost({ ...options, workflows: [...known.values()] });
}

export interface RedisHost extends AsyncDisposable {
  target: RedisTarget;
  /** The process's connections, which all its parts share. */
  store: ConnectedStore;
  /** True when the server belongs to the data folder. */
  embedded: boolean;
}

/**
 * The configured Redis, checked; or the data folder's embedded one, joined or started, and started again should it
 * end while this process needs it.
 * @param options `triesWrites`: whether a key is written and deleted to see that it can be; default true
 * @throws ConfigurationError when neither can be had.
 */
export async function openRedis(
  settings: Settings,
  logger: Logger,
  signal?: AbortSignal,
  { triesWrites = true }: { triesWrites?: boolean } = {},
): Promise<RedisHost> {
  await startTracing(settings.tracing, logger);
  await startSentry(settings);
  const held = settings.redisUrl ? undefined : await holdEmbedded(settings, logger);
  const target = held ? { socketPath: held.socketPath } : redisTarget(settings.redisUrl ?? "");
  const { prefix } = redisKeys(settings.namespace);
  if (!held) await checkRedis(target, { prefix, logger, signal, triesWrites });
  const store = openStore(target, settings.namespace, logger);
  return {
    target,
    store,
    embedded: held !== undefined,
    async [Symbol.asyncDispose]() {
      store.disconnect();
      held?.release();
      // What worked in this process has ended.
      await Promise.all([flushTracing(), flushSentry()]);
    },
  };
}

async function holdEmbedded({ dataDir, system }: Settings, logger: Logger) {
  const { holdEmbeddedRedis } = await import("../embedded-redis/hold.ts");
  return holdEmbeddedRedis({
    dataDir,
    system,
    onProgress: (line) => process.stderr.write(`${line}\n`),
    onRestart: () => logger.warn("Redis ended and was started again with its data"),
    onFault: (error) => logger.error({ fault: error.message }, "Redis cannot be started again"),
  });
}
