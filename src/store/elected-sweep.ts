import { CLOSE_MS, within } from "../shared/within.ts";
import type { ClockWatch } from "./clock-watch.ts";
import type { Store } from "./store.ts";

export interface SweepOptions {
  store: Store;
  /** Held by the process that sweeps: a string that expires before its next turn. */
  key: string;
  everyMs: number;
  /** Nothing is swept while this machine's clock is off. */
  clock: ClockWatch;
  /** Whether this process has a reason to; one that has none leaves the turn to others. Default: always. */
  isAsked?: () => Promise<boolean>;
  sweep: () => Promise<void>;
}

/** Work for a namespace that every worker process offers to do from time to time, and one of them does. */
export class ElectedSweep {
  readonly #options: SweepOptions;
  readonly #timer: NodeJS.Timeout;
  #sweeping: Promise<void> | undefined;

  constructor(options: SweepOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#begin(), options.everyMs).unref();
  }

  #begin(): void {
    // What Redis does not answer now is asked again.
    this.#sweeping ??= this.#sweepIfElected()
      .catch(() => {})
      .finally(() => {
        this.#sweeping = undefined;
      });
  }

  async #sweepIfElected(): Promise<void> {
    const { store, key, everyMs, clock, isAsked, sweep } = this.#options;
    if (clock.isOff || (await isAsked?.()) === false) return;
    if ((await store.redis.set(key, "1", "PX", Math.ceil(everyMs * 0.9), "NX")) === "OK") await sweep();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await within(CLOSE_MS, this.#sweeping ?? Promise.resolve());
  }
}
