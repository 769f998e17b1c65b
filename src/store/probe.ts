import { Queue } from "bullmq";
import { jobKey } from "./bullmq-internals.ts";
import type { JobLoopOptions } from "./job-loop.ts";
import { LoopOnDemand } from "./loop-on-demand.ts";
import { clockOf } from "./redis-clock.ts";
import type { Store } from "./store.ts";

/*
 * A probe: a job that does nothing, in a queue of its own that nobody can pause, so that its age tells whether workers take
 * jobs at all. There is one at a time, `:probe:probe`; the worker that takes it deletes it.
 *
 * | from    | to      | by               | who                                                |
 * |---------|---------|------------------|----------------------------------------------------|
 * | none    | waiting | `Probe.ageMs`    | a server that is asked how it is, every 15 s at most |
 * | waiting | none    | `probeAnswerer`  | any worker                                         |
 */

const QUEUE = "probe";
const JOB_ID = "probe";
const SEND_MS = 15_000;
const LOOK_MS = 5000;

/** Sends probes, as long as somebody asks for their age. */
export class Probe {
  readonly #store: Store;
  readonly #queue: Queue;
  #sentAt = Number.NEGATIVE_INFINITY;

  constructor(store: Store) {
    this.#store = store;
    this.#queue = new Queue(QUEUE, {
      connection: store.redis,
      prefix: store.keys.prefix,
      streams: { events: { maxLen: 10 } },
    });
    // The connection's own listener reports faults.
    this.#queue.on("error", () => {});
  }

  /** Returns for how many milliseconds the present probe has been waiting for a worker; 0 when none does. */
  async ageMs(): Promise<number> {
    const addedAt = await this.#store.redis.hget(jobKey(this.#store, QUEUE, JOB_ID), "timestamp");
    if (addedAt !== null) return Math.max(0, clockOf(this.#store).now() - Number(addedAt));
    if (performance.now() - this.#sentAt >= SEND_MS) await this.#send();
    return 0;
  }

  async #send(): Promise<void> {
    this.#sentAt = performance.now();
    const timestamp = await clockOf(this.#store).fresh();
    await this.#queue.add(
      QUEUE,
      {},
      { jobId: JOB_ID, timestamp, removeOnComplete: true, removeOnFail: true },
    );
  }

  close(): Promise<void> {
    return this.#queue.close();
  }
}

type AnswererOptions = Pick<JobLoopOptions, "store" | "logger" | "clock" | "lockMs">;

/** Returns what takes the probes in a worker process. */
export function probeAnswerer({ store, logger, clock, lockMs }: AnswererOptions): LoopOnDemand {
  const process = async () => null;
  return new LoopOnDemand({ store, logger, clock, lockMs, queue: QUEUE, concurrency: 1, process }, LOOK_MS);
}
