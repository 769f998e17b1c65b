import type { WorkerState } from "../shared/worker-state.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { readWorkersById } from "../store/worker-card.ts";

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
