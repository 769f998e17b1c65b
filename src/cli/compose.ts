import type { Dashboard, DashboardOptions } from "../../dashboards/server.ts";
import type { ApiOptions } from "../api/api-options.ts";
import type { Api } from "../api/server.ts";
import type { HistoryConsumer, HistoryConsumerOptions } from "../history/consumer.ts";
import { openKeyRing } from "../host/key-ring.ts";
import type { FleetWorker, FleetWorkerOptions } from "../host/one-process.ts";
import type { askKey as ask } from "../providers/ask-key.ts";
import type { Settings } from "../shared/settings.ts";
import type { Simulator, SimulatorOptions } from "../simulator/simulator.ts";

/*
 * The one file of the command line that sees all sides: every command takes its Redis, workers, dashboard and
 * simulator from here. Each side is loaded when it is asked for, so that a command that needs none of them starts in
 * half the time.
 */

export { type LocalKey, localKey } from "../host/local-key.ts";
export { openRedis, type RedisHost } from "../host/open-redis.ts";

interface DashboardParts
  extends Pick<DashboardOptions, "redisTarget" | "logger" | "isPortFixed">,
    Pick<ApiOptions, "settings" | "store" | "keyNeeded" | "workflows"> {
  /** Default: that of the settings. */
  port?: number | undefined;
}

/** Starts the dashboard with the REST routes; without a password it is opened by the link with the token of the data folder. */
export async function startDashboard({ port, ...options }: DashboardParts): Promise<Dashboard> {
  const [{ startDashboard: start }, { dashboardToken }, { mountRest }] = await Promise.all([
    import("../../dashboards/server.ts"),
    import("../../dashboards/link.ts"),
    import("../api/rest-mount.ts"),
  ]);
  const { dashboard, namespace, dataDir, api, encryption } = options.settings;
  return start({
    ...options,
    namespace,
    ring: await openKeyRing(encryption),
    ...dashboard,
    port: port ?? dashboard.port,
    allowedHosts: api.allowedHosts,
    token: dashboard.password ? undefined : dashboardToken(dataDir),
    mountRest: (knownCaller) => mountRest(options, knownCaller),
  });
}

/** Starts all that works in one process. */
export async function startWorker(options: FleetWorkerOptions): Promise<FleetWorker> {
  return (await import("../host/one-process.ts")).startWorker(options);
}

/** Writes what ends in this process' time into the history, where that is on. */
export async function startHistory(options: HistoryConsumerOptions): Promise<HistoryConsumer | undefined> {
  if (!options.settings.history.enabled) return undefined;
  const { HistoryConsumer } = await import("../history/consumer.ts");
  return new HistoryConsumer(options);
}

export async function startApi(options: ApiOptions): Promise<Api> {
  return (await import("../api/server.ts")).startApi(options);
}

export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  return (await import("../simulator/simulator.ts")).startSimulator(options);
}

/** Shuts the embedded Redis of these settings down, whoever uses it. */
export async function endEmbeddedRedis({ dataDir, system }: Settings): Promise<void> {
  await (await import("../embedded-redis/embedded-redis.ts")).stopEmbeddedRedis({ dataDir, system });
}

/** Shows an entry's key to its provider, by a call that costs nothing. */
export async function askKey(...args: Parameters<typeof ask>): ReturnType<typeof ask> {
  return (await import("../providers/ask-key.ts")).askKey(...args);
}

/** Speaks MCP over this process's standard input and output, for somebody who may call an API. */
export async function serveMcp(
  ...args: Parameters<typeof import("../api/mcp/stdio.ts").serveMcp>
): Promise<void> {
  return (await import("../api/mcp/stdio.ts")).serveMcp(...args);
}
