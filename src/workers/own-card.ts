import { hostname } from "node:os";
import { fingerprint } from "../shared/providers.ts";
import type { WorkerCard } from "../store/worker-card.ts";
import type { WorkerContext } from "./context.ts";
import type { WorkerOptions } from "./worker-options.ts";

/** A card names so many queues. */
const MAX_QUEUES = 200;

/** Returns what this process says of itself: what it can run, and how it is. */
export function ownCard(
  { settings, tools, load, jobs }: WorkerContext,
  {
    queueGlobs = ["*"],
    workflowVersions = {},
    activityNames = [],
    version = "unknown",
    clock,
  }: WorkerOptions,
  queues: readonly string[],
): WorkerCard {
  const usable = Object.values(settings.providers).filter((entry) => entry.apiKey || entry.keyOptional);
  return {
    host: hostname(),
    pid: process.pid,
    queueGlobs: [...queueGlobs],
    tools: [...tools.keys()],
    isMemoryLow: load.isMemoryLow,
    entries: Object.fromEntries(usable.map((entry) => [entry.name, fingerprint(entry)])),
    workflows: Object.keys(workflowVersions),
    versions: { ...workflowVersions },
    jobs: { ...jobs },
    activities: [...activityNames],
    process: {
      version,
      startedAt: Math.round(performance.timeOrigin),
      rssBytes: process.memoryUsage.rss(),
      memoryShare: Math.round(load.memoryShare * 1000) / 1000,
      lagMs: Math.round(load.lagMs * 10) / 10,
      clockAheadMs: Math.round(clock?.aheadMs ?? 0),
      queues: queues.slice(0, MAX_QUEUES),
    },
  };
}
