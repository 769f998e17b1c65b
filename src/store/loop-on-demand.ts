import { CLOSE_MS, within } from "../shared/within.ts";
import { hasJobs } from "./bullmq-internals.ts";
import { JobLoop, type JobLoopOptions } from "./job-loop.ts";

/** A job loop that is opened once its queue has jobs: where there are none, it costs no connection. */
export class LoopOnDemand {
  readonly #options: JobLoopOptions;
  readonly #timer: NodeJS.Timeout;
  #loop: JobLoop | undefined;
  #looking: Promise<void> | undefined;
  #isClosing = false;

  /** @param everyMs how often the queue is looked at until it has jobs */
  constructor(options: JobLoopOptions, everyMs: number) {
    this.#options = options;
    this.#look();
    this.#timer = setInterval(() => this.#look(), everyMs).unref();
  }

  #look(): void {
    if (this.#loop) return;
    const { store, queue } = this.#options;
    this.#looking ??= hasJobs(store, queue)
      .then((has) => {
        if (has && !this.#isClosing) this.#loop ??= new JobLoop(this.#options);
      })
      // While Redis is away there is nothing to look at.
      .catch(() => {})
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** Takes no more jobs; what it has is left to other workers after two seconds. */
  async close(): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#timer);
    await within(CLOSE_MS, this.#looking ?? Promise.resolve());
    await this.#loop?.close(CLOSE_MS);
  }
}
