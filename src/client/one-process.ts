import type { ModelNames } from "../producers/model-chain.ts";
import type { Logger } from "../shared/logger.ts";
import { checkRedis, connectRedis, type RedisTarget, redisTarget } from "../shared/redis.ts";
import { type RedisKeys, redisKeys } from "../shared/redis-keys.ts";
import type { Settings } from "../shared/settings.ts";
import { addTool, type Tool } from "../shared/tool.ts";
import type { WorkerOptions } from "../workers/worker-process.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";

/*
 * The one file of the client that sees the other sides: it brings Redis and a worker into this process. Each is loaded
 * when it is asked for.
 */

export interface FleetWorkerOptions extends Omit<WorkerOptions, "workflowNames" | "tools"> {
  /** By name; those that workflows bring along are added. */
  tools?: Map<string, Tool>;
  /** Run beside the model calls. */
  workflows?: readonly AnyWorkflow[];
  /** The model of calls in workflows that name none; default: the setting DEFAULT_MODEL. */
  defaultModel?: ModelNames;
}

/** Everything that works in one process. */
export interface FleetWorker {
  id: string;
  close(): Promise<void>;
}

export async function startWorker({
  tools = new Map(),
  workflows = [],
  defaultModel,
  ...options
}: FleetWorkerOptions): Promise<FleetWorker> {
  const { WorkerProcess } = await import("../workers/worker-process.ts");
  const workflowNames = workflows.map(({ name }) => name);
  const worker = await WorkerProcess.start({ ...options, tools, workflowNames });
  if (workflows.length === 0) return worker;
  const offerTool = (tool: Tool) => addTool(tools, tool);
  const { WorkflowHost } = await import("../workflows/workflow-host.ts");
  const host = await WorkflowHost.start({ ...options, workflows, defaultModel, offerTool });
  return {
    id: worker.id,
    close: async () => {
      await Promise.all([host.close(), worker.close()]);
    },
  };
}

export interface RedisHost extends AsyncDisposable {
  target: RedisTarget;
  redis: ReturnType<typeof connectRedis>;
  keys: RedisKeys;
  /** True when the server belongs to the data folder. */
  embedded: boolean;
}

/**
 * The configured Redis, checked; or the data folder's embedded one, joined or started, and started again should it
 * end while this process needs it.
 * @throws ConfigurationError when neither can be had.
 */
export async function openRedis(settings: Settings, logger: Logger): Promise<RedisHost> {
  const held = settings.redisUrl ? undefined : await holdEmbedded(settings, logger);
  const target = held ? { socketPath: held.socketPath } : redisTarget(settings.redisUrl ?? "");
  if (!held) await checkRedis(target, logger);
  const redis = connectRedis(target, logger);
  return {
    target,
    redis,
    keys: redisKeys(settings.namespace),
    embedded: held !== undefined,
    async [Symbol.asyncDispose]() {
      redis.disconnect();
      held?.release();
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
