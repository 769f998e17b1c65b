import type { ProcessLoad } from "../limits/process-load.ts";
import type { ActiveJob } from "../store/job-loop.ts";
import type { Store } from "../store/store.ts";
import { wakeFirst } from "../store/wake-first.ts";

/** Why a job is delayed that found no place; wakers look for it. */
const WAITS_FOR_PLACE = "its tools: the worker has as many jobs in tools as it may";

export interface ToolPlacesOptions {
  store: Store;
  load: Pick<ProcessLoad, "isMemoryLow">;
  /** Jobs of this process whose tools run, at a time. */
  maxJobsInTools: number;
}

/** The job has to wait until fewer jobs of this process are in their tools, or its memory is enough again. */
export class NoToolPlaceError extends Error {
  override name = "NoToolPlaceError";

  constructor() {
    super(WAITS_FOR_PLACE);
  }
}

interface JobInTools extends Pick<ActiveJob, "jobId" | "withoutSlot"> {
  queue: string;
  /** Of the job; 0 when no tool began it. */
  nesting: number;
}

/** How many jobs of this process are in their tools, of all queues, and which ones wait for a place. */
export class ToolPlaces {
  readonly #options: ToolPlacesOptions;
  #taken = 0;
  /** Queues by job id: found no place, and are on their way back to their queue. */
  readonly #refused = new Map<string, string>();
  /** Queues by job id: are in their queue, the longest first. */
  readonly #waiting = new Map<string, string>();

  constructor(options: ToolPlacesOptions) {
    this.#options = options;
  }

  /** How many jobs are in their tools. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Runs a job's tools without the job's slot. Jobs that a tool began always have a place: that tool waits for them in
   * one.
   * @throws NoToolPlaceError
   */
  async run<T>({ jobId, queue, nesting, withoutSlot }: JobInTools, tools: () => Promise<T>): Promise<T> {
    if (nesting === 0 && !this.#hasRoom) {
      this.#refused.set(jobId, queue);
      throw new NoToolPlaceError();
    }
    this.#taken += 1;
    return withoutSlot(async () => {
      try {
        return await tools();
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
    return this.#taken < this.#options.maxJobsInTools && !this.#options.load.isMemoryLow;
  }

  /** Has the job taken next that has waited longest. Those that are not woken come back when their delay is over. */
  async #wakeNext(): Promise<void> {
    const { store } = this.#options;
    while (this.#hasRoom) {
      const [next] = this.#waiting;
      if (!next) return;
      const [jobId, queue] = next;
      this.#waiting.delete(jobId);
      const isWoken = await wakeFirst(store, queue, jobId, WAITS_FOR_PLACE).catch(() => false);
      if (isWoken) return;
    }
  }
}
