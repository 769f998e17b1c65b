import type { Logger } from "../shared/logger.ts";
import type { Store } from "./store.ts";
import { findStranded, putBackStranded } from "./stranded-jobs.ts";
import { type SetAside, setAside, setAsideActive } from "./unreadable-jobs.ts";

const STRANDED_REST_MS = 10_000;

export interface UnreadableWatchOptions {
  store: Store;
  queue: string;
  logger: Logger;
  /** Told of a job that was set aside because BullMQ cannot read it; it is gone from its queue. */
  onUnreadable?: (jobId: string) => Promise<void>;
}

/** Sets jobs of a queue aside that BullMQ cannot read, once its faults tell that there may be some: they would come back for ever. */
export class UnreadableWatch {
  readonly #options: UnreadableWatchOptions;
  /** Faults that tell of such a job, while it is looked for. */
  #faults = 0;
  /** One of them was met among delayed jobs, perhaps. */
  #mayBeStranded = false;
  #strandedRest: NodeJS.Timeout | undefined;

  constructor(options: UnreadableWatchOptions) {
    this.#options = options;
  }

  /** One look at a time, and one after the last fault. */
  async look({ mayBeStranded = false } = {}): Promise<void> {
    this.#mayBeStranded ||= mayBeStranded;
    this.#faults += 1;
    if (this.#faults > 1) return;
    while (this.#faults > 0) {
      const seen = this.#faults;
      // What Redis does not take now, the next fault asks again.
      await this.#setAsideOnce().catch(() => {
        this.#mayBeStranded = true;
      });
      this.#faults -= seen;
    }
  }

  async #setAsideOnce(): Promise<void> {
    const { store, queue } = this.#options;
    await this.#tellSetAside(await setAsideActive(store, queue));
    if (!this.#mayBeStranded || this.#strandedRest) return;
    this.#mayBeStranded = false;
    // It goes through all keys: a fault that has another cause must not have it done again and again.
    this.#strandedRest = setTimeout(() => {
      this.#strandedRest = undefined;
      if (this.#mayBeStranded) void this.look();
    }, STRANDED_REST_MS).unref();
    const stranded = await findStranded(store, [queue]);
    const damaged = stranded.filter(({ isDamaged }) => isDamaged).map(({ jobId }) => jobId);
    await this.#tellSetAside(await setAside(store, queue, damaged));
    for (const job of stranded) await putBackStranded(store, job);
  }

  async #tellSetAside(jobs: readonly SetAside[]): Promise<void> {
    const { queue, logger, onUnreadable } = this.#options;
    for (const { jobId, problem } of jobs) {
      logger.error(
        { queue, jobId, fault: problem },
        "a job cannot be read and was set aside; see `gluellm queues repair`",
      );
      await onUnreadable?.(jobId);
    }
  }
}
