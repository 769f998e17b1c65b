import { MAX_ACTIVITIES_AT_WORK } from "../shared/activity-payload.ts";
import { activityQueue } from "../shared/catalog.ts";
import type { Logger } from "../shared/logger.ts";
import type { Settings } from "../shared/settings.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { JobLoop } from "../store/job-loop.ts";
import { notifyRun } from "../store/run-journal.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { type AnyActivity, activitiesByName } from "./activity.ts";
import { processActivity } from "./process-activity.ts";
import { ServedQueues } from "./served-queues.ts";

export interface ActivityHostOptions {
  /** The process's connections, which stay its owner's to end. */
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  activities: readonly AnyActivity[];
  /** Of the process. */
  workerId: string;
  /** Undefined unless somebody asked for metrics. */
  metrics?: Metrics | undefined;
  /** Compared with Redis' clock by whoever made it. */
  clock?: ClockWatch;
  /** Of each activity at a time; default 100. */
  concurrency?: number | undefined;
}

/** A shorter lock would be lost by a worker of a busy machine. */
const MIN_LOCK_MS = 2000;

/** Does activities in this process: takes their jobs from the queue of each one that it has. */
export class ActivityHost {
  readonly #served: ServedQueues;
  readonly #listening: Promise<Disposable>;

  /** @throws InputError (`duplicate_activity`) */
  constructor(options: ActivityHostOptions) {
    const { store, settings, logger, activities, workerId, metrics, clock, concurrency } = options;
    const known = activitiesByName(activities);
    const byQueue = new Map([...known.values()].map((activity) => [activityQueue(activity.name), activity]));
    this.#served = new ServedQueues(store, byQueue.keys(), (queue) => {
      const activity = byQueue.get(queue) as AnyActivity;
      const { heartbeatMs = settings.lockMs } = activity;
      // A lost worker is noticed by its lock.
      const lockMs = Math.min(settings.lockMs, Math.max(MIN_LOCK_MS, heartbeatMs));
      return new JobLoop({
        ...{ store, queue, logger, lockMs, clock },
        concurrency: concurrency ?? MAX_ACTIVITIES_AT_WORK,
        keepsFreeLocks: true,
        // Its run looks for it, and adds it again. The id of a step's job is that of its run, a dot and 16 digits.
        onUnreadable: async (jobId) => void (await notifyRun(store, jobId.slice(0, -17))),
        process: (active) => processActivity({ store, logger, metrics, activity, workerId, lockMs, active }),
      });
    });
    this.#listening = store.notifier.listen({ cancel: (jobId) => this.#served.abort(jobId) });
  }

  /** Takes no more activities; those at work have `drainMs` (default 30 s), then they go back. */
  async close({ drainMs = 30_000 }: { drainMs?: number } = {}): Promise<void> {
    await this.#served.close(drainMs);
    await within(
      CLOSE_MS,
      this.#listening.then((listener) => listener[Symbol.dispose]()),
    );
  }
}
