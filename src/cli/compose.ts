import type { Dashboard, DashboardOptions } from "../../dashboards/server.ts";
import type { Api, ApiOptions } from "../api/server.ts";
import type { askKey as ask } from "../providers/ask-key.ts";
import type { Simulator, SimulatorOptions } from "../simulator/simulator.ts";

/*
 * The one file of the command line that sees all sides: every command takes its Redis, workers, dashboard and
 * simulator from here. Each side is loaded when it is asked for, so that a command that needs none of them starts in
 * half the time.
 */

export { type LocalKey, localKey } from "../host/local-key.ts";
export { openRedis, type RedisHost, startWorker } from "../host/one-process.ts";

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
  const { dashboard, namespace, dataDir, api } = options.settings;
  return start({
    ...options,
    namespace,
    ...dashboard,
    port: port ?? dashboard.port,
    allowedHosts: api.allowedHosts,
    token: dashboard.password ? undefined : dashboardToken(dataDir),
    mountRest: (knownCaller) => mountRest(options, knownCaller),
  });
}

export async function startApi(options: ApiOptions): Promise<Api> {
  return (await import("../api/server.ts")).startApi(options);
}

export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  return (await import("../simulator/simulator.ts")).startSimulator(options);
}

/** Shows an entry's key to its provider, by a call that costs nothing. */
export async function askKey(...args: Parameters<typeof ask>): ReturnType<typeof ask> {
  return (await import("../providers/ask-key.ts")).askKey(...args);
}
