import { Queue } from "bullmq";
import { QUEUE_DEFAULTS, SCHEDULE_QUEUE } from "../shared/catalog.ts";
import { registerQueue } from "../store/queue-registry.ts";
import { clockOf } from "../store/redis-clock.ts";
import type { Store } from "../store/store.ts";
import { patternOf, repeatStrategy, type Timing } from "./times.ts";

/** A tick's job that has not ended so long after its time has been lost. */
const LOST_MS = 60_000;
/** BullMQ says so of a scheduler whose next job another process has added meanwhile. */
const ADDED_MEANWHILE = /job ID already exists/;

/**
 * BullMQ's job schedulers of the queue `schedules`: each makes a job of the id `repeat:<schedule>:<planned ms>` for its
 * next tick when the one before is taken. An upsert of a scheduler that stands loses ticks, so that it is done only for one
 * that is new, has other times, or does not tick.
 */
export class TickJobs {
  readonly #store: Store;
  readonly #queue: Queue;

  constructor(store: Store) {
    this.#store = store;
    this.#queue = new Queue(SCHEDULE_QUEUE, {
      connection: store.redis,
      prefix: store.keys.prefix,
      defaultJobOptions: { ...QUEUE_DEFAULTS, attempts: 1000, backoff: { type: "fixed", delay: 1000 } },
      streams: { events: { maxLen: 1000 } },
      // It is asked when a schedule begins to tick. A clock that is behind would plan ticks that are past.
      settings: {
        repeatStrategy: (after, options) => repeatStrategy(Math.max(after, clockOf(store).now()), options),
      },
    });
    // The connection's own listener reports faults.
    this.#queue.on("error", () => {});
  }

  /** Lets a schedule tick from now on, at these times. */
  async arm(id: string, timing: Timing): Promise<void> {
    await registerQueue(this.#store, SCHEDULE_QUEUE);
    const repeat = { pattern: patternOf(timing), tz: timing.timezone };
    const template = { name: id, data: { v: 1, kind: "tick", schedule: id } };
    await this.#queue.upsertJobScheduler(id, repeat, template).catch((error: Error) => {
      if (!ADDED_MEANWHILE.test(error.message)) throw error;
    });
  }

  /** Lets it tick no more; a tick that a worker has already looks at the schedule's record. */
  async disarm(id: string): Promise<void> {
    await this.#queue.removeJobScheduler(id);
  }

  /** Whether a schedule ticks: it has a job for its next tick, which may be waiting for a worker. */
  async isArmed(id: string): Promise<boolean> {
    const next = (await this.#queue.getJobScheduler(id))?.next;
    if (next === undefined) return false;
    if (next > (await clockOf(this.#store).fresh()) - LOST_MS) return true;
    const state = await this.#queue.getJobState(`repeat:${id}:${next}`);
    return state !== "unknown" && state !== "completed" && state !== "failed";
  }

  close(): Promise<void> {
    return this.#queue.close();
  }
}

/** Returns the planned time of a tick's job, in epoch milliseconds. */
export function plannedTime(jobId: string): number {
  return Number(jobId.slice(jobId.lastIndexOf(":") + 1)) || 0;
}
