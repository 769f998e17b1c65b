import { readVersion } from "../../host/read-version.ts";
import { readQueueStates } from "../../producers/queue-states.ts";
import { CloseStack } from "../../shared/close-stack.ts";
import { counted } from "../../shared/counted.ts";
import { ConfigurationError } from "../../shared/errors.ts";
import { createLogger } from "../../shared/logger.ts";
import { type LoadOptions, loadSettings, type Settings } from "../../shared/settings.ts";
import { withProbe } from "../../store/check-redis.ts";
import { openStore } from "../../store/connected-store.ts";
import { redisKeys } from "../../store/redis-keys.ts";
import { addressOf, type RedisTarget, redisTarget } from "../../store/redis-target.ts";
import type { Store } from "../../store/store.ts";
import { readWorkerCards } from "../../store/worker-card.ts";
import { openRedis } from "../compose.ts";
import { type CheckGroup, type CheckResult, failed, ok, runGroup, warn } from "./check.ts";
import { exposureChecks } from "./exposure-checks.ts";
import { placeChecks } from "./place-checks.ts";
import { type FleetSeen, providerChecks } from "./provider-checks.ts";
import { redisChecks } from "./redis-checks.ts";
import { workChecks } from "./work-checks.ts";

/** What `gluellm doctor --json` prints. */
export interface DoctorReport {
  /** That of the worst check. */
  status: CheckResult["status"];
  version: string;
  namespace: string | null;
  checks: CheckResult[];
  /** Groups that were left out since what they need failed. */
  notChecked: string[];
}

/**
 * Makes all checks.
 * @param onGroup gets the results of each group as they come
 * @param from where the settings are; default: this process's environment and folder
 */
export async function examine(
  onGroup: (results: CheckResult[]) => void,
  from: LoadOptions = {},
): Promise<DoctorReport> {
  const checks: CheckResult[] = [];
  const notChecked: string[] = [];
  const add = (results: CheckResult[]) => {
    checks.push(...results);
    onGroup(results);
  };
  const make = async (group: CheckGroup) => add(await runGroup(group));
  const read = readSettings(from);
  await make({
    name: "Environment",
    checks: [
      { name: "GlueLLM", run: () => ok(`version ${readVersion()}`) },
      { name: "Node.js", run: () => ok(process.versions.node) },
      { name: "settings", run: () => settingsFinding(read) },
    ],
  });
  if ("settings" in read) {
    const { settings } = read;
    await using parts = new CloseStack();
    const fleet = await lookAtRedis(settings, parts, add, notChecked);
    for (const group of [
      providerChecks(settings, fleet?.seen),
      ...(fleet ? [workChecks(fleet.store, fleet.seen)] : []),
      placeChecks(settings, from.cwd ?? process.cwd()),
      exposureChecks(settings),
    ])
      await make(group);
  } else notChecked.push("Redis", "Providers", "Work", "Files", "Exposure");
  const status =
    (["fail", "warn"] as const).find((each) => checks.some((check) => check.status === each)) ?? "ok";
  const namespace = "settings" in read ? read.settings.namespace : null;
  return { status, version: readVersion(), namespace, checks, notChecked };
}

type ReadSettings = { settings: Settings } | { error: unknown };

function readSettings(from: LoadOptions): ReadSettings {
  try {
    return { settings: loadSettings(from) };
  } catch (error) {
    return { error };
  }
}

function settingsFinding(read: ReadSettings) {
  if ("error" in read) return failed(read.error);
  const { warnings, namespace } = read.settings;
  if (warnings.length > 0) return warn(warnings.join("; "), ".env.example lists every setting");
  return ok(`no faults; namespace ${namespace}`);
}

/** Connects, checks the server, and reads what the later checks share; undefined when there is no way to it. */
async function lookAtRedis(
  settings: Settings,
  parts: CloseStack,
  add: (results: CheckResult[]) => void,
  notChecked: string[],
): Promise<{ store: Store; seen: FleetSeen } | undefined> {
  const { prefix } = redisKeys(settings.namespace);
  const logger = createLogger({ level: "silent", json: true });
  let target: RedisTarget | undefined;
  try {
    target =
      settings.redisUrl === undefined
        ? parts.use(await openRedis(settings, logger)).target
        : redisTarget(settings.redisUrl, settings.namespace);
    const known = target;
    add(await withProbe(known, (redis) => runGroup(redisChecks(redis, known, prefix))));
    const store = openStore(known, settings.namespace, logger);
    parts.defer(async () => store.disconnect());
    let seen: FleetSeen | undefined;
    const results = await runGroup({
      name: "Queues",
      checks: [
        {
          name: "queues and workers",
          run: async () => {
            const [states, cards] = await Promise.all([
              readQueueStates(store, settings),
              readWorkerCards(store),
            ]);
            seen = { states, cards };
            return ok(`${counted(states.length, "queue")} in namespace ${settings.namespace}`);
          },
        },
      ],
    });
    add(results);
    if (seen) return { store, seen };
    notChecked.push("Work");
  } catch (error) {
    const place = target ? addressOf(target) : "the embedded Redis";
    const known =
      error instanceof ConfigurationError ? error : new Error(`${place}: ${(error as Error).message}`);
    add([{ group: "Redis", name: "connection", ...failed(known), durationMs: 0 }]);
    notChecked.push("Work");
  }
  return undefined;
}
