import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { readWorkersById } from "../store/worker-card.ts";

/** A worker process that is alive, as it says itself; what an older version does not say is null. */
export interface WorkerState {
  id: string;
  host: string;
  pid: number;
  /** Of the package. */
  version: string | null;
  uptimeMs: number | null;
  /** Model calls that it has now, and those it brought to their end. */
  jobs: { active: number; ended: number } | null;
  /** It takes no jobs until it has more memory. */
  isMemoryLow: boolean;
  rssBytes: number | null;
  /** The part of the memory that it may use. */
  memoryShare: number | null;
  /** How late timers of its event loop are. */
  lagMs: number | null;
  /** How far its clock is ahead of that of Redis; negative: behind. */
  clockAheadMs: number | null;
  /** The queues that it takes jobs from, and the patterns of those that it would take jobs from. */
  queues: string[] | null;
  queueGlobs: string[];
  /** What it can run: provider entries, tools, workflows with their versions, activities. */
  providers: string[];
  tools: string[];
  workflows: { name: string; version: number | null }[];
  activities: string[];
}

/** Reads the worker processes that are alive, by host and pid. */
export async function readWorkerStates(store: Store): Promise<WorkerState[]> {
  const [cards, now] = await Promise.all([readWorkersById(store), clockOf(store).fresh()]);
  const states = [...cards].map(([id, card]): WorkerState => {
    const { host, pid, isMemoryLow, queueGlobs, tools, activities, process } = card;
    return {
      ...{ id, host, pid },
      version: process?.version ?? null,
      uptimeMs: process ? Math.max(0, now + process.clockAheadMs - process.startedAt) : null,
      jobs: card.jobs ?? null,
      isMemoryLow,
      rssBytes: process?.rssBytes ?? null,
      memoryShare: process?.memoryShare ?? null,
      lagMs: process?.lagMs ?? null,
      clockAheadMs: process?.clockAheadMs ?? null,
      queues: process?.queues ?? null,
      queueGlobs,
      providers: Object.keys(card.entries),
      tools,
      workflows: card.workflows.map((name) => ({ name, version: card.versions[name] ?? null })),
      activities,
    };
  });
  return states.sort((a, b) => a.host.localeCompare(b.host) || a.pid - b.pid);
}
