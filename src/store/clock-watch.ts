import type { Logger } from "../shared/logger.ts";
import { clockOf } from "./redis-clock.ts";
import type { Store } from "./store.ts";

const LOOK_MS = 60_000;
const WARN_MS = 5_000;
/** Beyond it deadlines, delays and expiries of other machines would be judged wrongly. */
const MAX_OFF_MS = 60_000;

/**
 * Compares this machine's clock with that of Redis, which all machines share, at the start and every minute. While they
 * differ by more than a minute, those who follow it take no jobs: with a clock an hour ahead every job looks too late.
 */
export class ClockWatch {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #followers = new Set<(isOff: boolean) => void>();
  #timer: NodeJS.Timeout | undefined;
  #aheadMs = 0;

  constructor(store: Store, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  /** Whether this machine's clock is too far from that of Redis to judge times by it. */
  get isOff(): boolean {
    return Math.abs(this.#aheadMs) > MAX_OFF_MS;
  }

  /** How far this machine's clock is ahead of that of Redis, in milliseconds; negative: behind. */
  get aheadMs(): number {
    return this.#aheadMs;
  }

  /** Compares once, and every minute from now on. Redis must be reachable. */
  async start(): Promise<void> {
    await this.look();
    // What Redis does not answer now is asked again.
    this.#timer = setInterval(() => void this.look().catch(() => {}), LOOK_MS).unref();
  }

  /** Tells a follower at once, and whenever it changes, whether the clock is off; returns how to end that. */
  follow(follower: (isOff: boolean) => void): () => void {
    this.#followers.add(follower);
    follower(this.isOff);
    return () => this.#followers.delete(follower);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Compares once, and tells what it found. */
  async look(): Promise<void> {
    const aheadMs = await clockOf(this.#store).look();
    const wasOff = this.isOff;
    this.#aheadMs = aheadMs;
    this.#tell(wasOff);
    if (this.isOff !== wasOff) for (const follower of this.#followers) follower(this.isOff);
  }

  #tell(wasOff: boolean): void {
    const seconds = Math.round(Math.abs(this.#aheadMs) / 1000);
    const figure = `this machine's clock is ${seconds} s ${this.#aheadMs > 0 ? "ahead of" : "behind"} that of Redis`;
    if (this.isOff) this.#logger.error(`${figure}: no jobs are taken until it is right; check NTP`);
    else if (wasOff) this.#logger.info("this machine's clock is right again: jobs are taken");
    else if (Math.abs(this.#aheadMs) > WARN_MS) this.#logger.warn(`${figure}; check NTP`);
  }
}
