import { once } from "node:events";
import type { Command } from "commander";
import { loadModules, loadWorkflows } from "../host/load-modules.ts";
import { readMcpFile } from "../mcp/mcp-config.ts";
import { addParts, partsOfAgents } from "../shared/agent.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { bindLogger } from "../shared/logger.ts";
import { isLoopback } from "../shared/loopback.ts";
import { loadSettings, readVariables } from "../shared/settings.ts";
import { ClockWatch } from "../store/clock-watch.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { reportCrashes } from "../telemetry/sentry.ts";
import { startTelemetry } from "../telemetry/telemetry.ts";
import {
  type LocalKey,
  localKey,
  openRedis,
  startApi,
  startDashboard,
  startHistory,
  startWorker,
} from "./compose.ts";
import { onInterruption } from "./exit.ts";
import { collect, integer } from "./options.ts";

/** `gluellm up`, `gluellm api`, `gluellm worker`, `gluellm dashboard`: the processes that stay. */
export function addServeCommands(program: Command): void {
  const concurrency = ["--concurrency <n>", "jobs at a time from each queue", integer(1, 10_000)] as const;
  const module = [
    "--module <file>",
    "a module that exports tools, agents, workflows or activities (repeatable)",
    collect,
  ] as const;
  const mcp = [
    "--mcp <file>",
    "a file of MCP servers whose tools jobs may call (repeatable)",
    collect,
  ] as const;
  program
    .command("up")
    .description("One process with all of it: Redis if there is none, workers, the API and the dashboard.")
    .option(...module)
    .option(...mcp)
    .option(...concurrency)
    .option("--port <n>", "the dashboard's port (default: DASHBOARD_PORT)", integer(0, 65_535))
    .option("--api-port <n>", "the API's port (default: API_PORT)", integer(0, 65_535))
    .action((options) => serve({ ...options, workers: true, dashboard: true, api: true }));
  program
    .command("api")
    .description("The HTTP API for OpenAI's clients and others; without a configured Redis it works too.")
    .option("--host <address>", "where it listens (default: API_HOST)")
    .option("--port <n>", "its port (default: API_PORT)", integer(0, 65_535))
    .option("--no-auth", "let everyone on this machine in without a key; on loopback only")
    .option(...module)
    .option(...mcp)
    .option(...concurrency)
    .action(({ host, port, auth, ...options }) =>
      serve({ ...options, dashboard: false, api: true, apiHost: host, apiPort: port, auth }),
    );
  program
    .command("worker")
    .description("One more worker process of the fleet.")
    .option(
      "--queue <glob>",
      "serve only queues that fit, such as 'completions.openai.*' (repeatable)",
      collect,
    )
    .option(...module)
    .option(...mcp)
    .option(...concurrency)
    .option("--exit-with-parent", "stop when standard input closes")
    .action((options) => serve({ ...options, workers: true, dashboard: false }));
  program
    .command("dashboard")
    .description("Only the dashboard.")
    .option("--module <file>", "a module whose workflows the playground offers (repeatable)", collect)
    .option("--port <n>", "its port (default: DASHBOARD_PORT)", integer(0, 65_535))
    .action((options) => serve({ ...options, workers: false, dashboard: true }));
}

/** Tried by `up` when the API's port is busy, as for the dashboard. */
const FURTHER_PORTS = 20;

interface ServeOptions {
  /** Default: when no Redis is configured, since nobody else works then. */
  workers?: boolean;
  dashboard: boolean;
  api?: boolean;
  queue?: string[];
  module?: string[];
  /** Files of MCP servers. */
  mcp?: string[];
  concurrency?: number;
  /** The dashboard's. */
  port?: number;
  apiHost?: string;
  apiPort?: number;
  auth?: boolean;
  exitWithParent?: boolean;
  /** Gets the address of the API, and a key of this machine's owner, in place of the standard error; undefined when it was revoked. */
  onApi?: (url: string, key: string | undefined) => Promise<void>;
  /** Whether modules without workflows are refused. */
  needsWorkflows?: boolean;
}

/** A process that stays until it is asked to end. */
export async function serve({
  dashboard,
  queue,
  module = [],
  mcp = [],
  concurrency,
  port,
  exitWithParent,
  ...options
}: ServeOptions): Promise<void> {
  const settings = loadSettings();
  const { workers = settings.redisUrl === undefined } = options;
  const logger = loggerOf(settings, "info");
  reportCrashes(settings);
  const interruption = onInterruption("draining: no new jobs, calls in flight finish (again to exit now)");
  await using host = await openRedis(settings, logger);
  const { store, target: redisTarget } = host;
  await using parts = new CloseStack();
  const definitions = await (options.needsWorkflows ? loadWorkflows(module) : loadModules(module));
  const variables = mcp.length > 0 ? readVariables() : {};
  const servers = mcp.flatMap((file) => readMcpFile(file, variables));
  addParts(definitions, partsOfAgents([], servers));
  if (workers) {
    const worker = await startWorker({
      store,
      settings,
      logger,
      queueGlobs: queue,
      ...definitions,
      concurrency,
    });
    parts.defer(() => worker.close());
    // An API hosts the batches that it takes by itself.
    if (!options.api) {
      const { BatchHost } = await import("../batch/served/batch-host.ts");
      const batches = await BatchHost.start({
        store,
        settings,
        logger: bindLogger(logger, { component: "batch" }),
      });
      parts.defer(() => batches.close());
    }
    logger.info({ worker: worker.id, queues: queue ?? ["*"] }, "worker is running");
  }
  if (!workers) {
    const clock = new ClockWatch(store, logger);
    await clock.start();
    parts.defer(() => clock.close());
    const telemetry = await startTelemetry({ store, settings, logger, clock });
    parts.defer(() => telemetry.close());
  }
  if (workers || options.api) {
    const history = await startHistory({ store, settings, logger });
    parts.defer(() => history?.close());
  }
  if (settings.audit.keys.length > 0 && (workers || options.api)) {
    const { AuditConsumer } = await import("../history/audit-consumer.ts");
    const audit = new AuditConsumer({ store, settings, logger });
    parts.defer(() => audit.close());
  }
  if (options.api) {
    // A worker of this process would tell webhooks already.
    if (!workers) {
      const { WebhookHost } = await import("../webhooks/host.ts");
      const webhooks = new WebhookHost({ store, settings, logger });
      parts.defer(() => webhooks.close());
    }
    const { apiHost, apiPort, auth = true } = options;
    const api = await startApi({
      ...{ settings, store, logger: bindLogger(logger, { component: "api" }) },
      host: apiHost,
      port: apiPort,
      furtherPorts: dashboard && apiPort === undefined ? FURTHER_PORTS : 0,
      isAuthRequired: auth,
      keyNeeded: workers,
      workflows: definitions.workflows,
    });
    parts.defer(() => api.close());
    if (options.onApi) await options.onApi(api.url, (await localKey(store, settings)).token);
    else process.stderr.write(`api: ${api.url}/v1\n`);
    if (auth && !options.onApi)
      process.stderr.write(
        exportLine(api.url, apiHost ?? settings.api.host, await localKey(store, settings)),
      );
  }
  if (dashboard) {
    const board = await startDashboard({
      ...{ redisTarget, settings, store, logger: bindLogger(logger, { component: "dashboard" }) },
      port,
      isPortFixed: port !== undefined,
      keyNeeded: workers,
      workflows: definitions.workflows,
    });
    parts.defer(() => board.close());
    process.stderr.write(`dashboard: ${board.url}\n`);
  }
  await ended(interruption.signal, exitWithParent ?? false);
  process.exitCode = interruption.exitCode ?? 0;
}

/** To be pasted into a shell. Off loopback the line goes to logs of others, so that it names the file only. */
function exportLine(url: string, host: string, { path, token }: LocalKey): string {
  if (token === undefined)
    return `the key in ${path} was revoked: remove the file, and the next start makes a new one\n`;
  const shown = isLoopback(host) ? token : `"$(cat '${path}')"`;
  return `export OPENAI_BASE_URL=${url}/v1 OPENAI_API_KEY=${shown}\n`;
}

async function ended(signal: AbortSignal, withParent: boolean): Promise<void> {
  const aborted = signal.aborted ? Promise.resolve() : once(signal, "abort");
  // A promise alone does not keep the process alive.
  const keepAlive = setInterval(() => {}, 60_000);
  const parentGone = withParent ? once(process.stdin.resume(), "end") : new Promise(() => {});
  await Promise.race([aborted, parentGone]);
  clearInterval(keepAlive);
  // An open standard input would keep the process alive after all else has ended.
  if (withParent) process.stdin.destroy();
}
