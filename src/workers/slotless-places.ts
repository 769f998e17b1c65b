import type { ProcessLoad } from "../limits/process-load.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import type { Store } from "../store/store.ts";
import { wakeFirst } from "../store/wake-first.ts";

export interface SlotlessPlacesOptions {
  store: Store;
  load: Pick<ProcessLoad, "isMemoryLow">;
  /** Jobs of this process that have a place, at a time. */
  most: number;
  /** Why a job is delayed that found none; wakers look for it. */
  reason: string;
}

/** The job has to wait until fewer jobs of this process have a place, or its memory is enough again. */
export class NoPlaceError extends Error {
  override name = "NoPlaceError";
}

interface SlotlessJob extends Pick<ActiveJob, "jobId" | "withoutSlot"> {
  queue: string;
  /** Of the job; 0 when no tool began it. */
  nesting: number;
}

/**
 * How many jobs of this process do something without a slot of their queue, such as running their tools, and which ones wait for a
 * place to do so.
 */
export class SlotlessPlaces {
  readonly #options: SlotlessPlacesOptions;
  #taken = 0;
  /** Queues by job id: found no place, and are on their way back to their queue. */
  readonly #refused = new Map<string, string>();
  /** Queues by job id: are in their queue, the longest first. */
  readonly #waiting = new Map<string, string>();

  constructor(options: SlotlessPlacesOptions) {
    this.#options = options;
  }

  /** How many jobs have a place. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Does what a job has to do without the job's slot. Jobs that a tool began always have a place: that tool waits for them
   * in one.
   * @throws NoPlaceError
   */
  async run<T>({ jobId, queue, nesting, withoutSlot }: SlotlessJob, work: () => Promise<T>): Promise<T> {
    if (nesting === 0 && !this.#hasRoom) {
      this.#refused.set(jobId, queue);
      throw new NoPlaceError(this.#options.reason);
    }
    this.#taken += 1;
    return withoutSlot(async () => {
      try {
        return await work();
      } finally {
        this.#taken -= 1;
        void this.#wakeNext();
      }
    });
  }

  /** An attempt has ended: a job that found no place is in its queue by now. */
  attemptEnded(jobId: string): void {
    const queue = this.#refused.get(jobId);
    if (queue === undefined) return;
    this.#refused.delete(jobId);
    this.#waiting.set(jobId, queue);
    void this.#wakeNext();
  }

  get #hasRoom(): boolean {
    return this.#taken < this.#options.most && !this.#options.load.isMemoryLow;
  }

  /** Has the job taken next that has waited longest. Those that are not woken come back when their delay is over. */
  async #wakeNext(): Promise<void> {
    const { store, reason } = this.#options;
    while (this.#hasRoom) {
      const [next] = this.#waiting;
      if (!next) return;
      const [jobId, queue] = next;
      this.#waiting.delete(jobId);
      const isWoken = await wakeFirst(store, queue, jobId, reason).catch(() => false);
      if (isWoken) return;
    }
  }
}
