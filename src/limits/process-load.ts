import { channel } from "node:diagnostics_channel";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { Logger } from "../shared/logger.ts";
import type { Profile } from "../shared/profiles.ts";
import { MemoryUse } from "./memory-use.ts";

const SAMPLE_MS = 500;
const LAG_RESOLUTION_MS = 10;
const BUSY_UTILISATION = 0.9;
/** Below the guard: where its growth is told beforehand, and where memory counts as enough again. */
const WARNING_MARGIN = 0.1;
const MARGIN = 0.03;

const memoryChannel = channel("gluellm:memory");

export interface ProcessLoadOptions {
  profile: Pick<Profile, "maxEventLoopLagMs" | "memoryGuard">;
  logger?: Logger;
  /** The bytes that the process may hold in all; default: its container's limit, if it has one. */
  maxRssBytes?: number;
}

/**
 * Watches this process's event loop and memory, twice a second.
 *
 * Memory is low from `memoryGuard` of the limit, measured after a garbage collection for that purpose, until it is 3 % of
 * the limit below it. Every change is logged, told to `onMemory`, and published as `{isLow, memoryShare}` on the diagnostics channel `gluellm:memory`.
 */
export class ProcessLoad implements Disposable {
  readonly #options: ProcessLoadOptions;
  readonly #memory: MemoryUse;
  readonly #delays = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  readonly #timer: NodeJS.Timeout;
  readonly #listeners: ((isLow: boolean) => void)[] = [];
  #utilisation = performance.eventLoopUtilization();
  #utilisedShare = 0;
  #lagMs = 0;
  #isMemoryLow = false;
  #isWarned = false;

  constructor(options: ProcessLoadOptions) {
    this.#options = options;
    this.#memory = new MemoryUse({
      maxRssBytes: options.maxRssBytes,
      onCollected: () => this.#checkMemory(),
    });
    this.#delays.enable();
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS).unref();
  }

  /** Whether the event loop hardly rested in the last half second, or timers came later than the profile allows. */
  get isBusy(): boolean {
    return this.#utilisedShare > BUSY_UTILISATION || this.#lagMs > this.#options.profile.maxEventLoopLagMs;
  }

  /** How many milliseconds timers were late in the last half second, on average. */
  get lagMs(): number {
    return this.#lagMs;
  }

  /** Share of the memory limit in use, garbage not counted: of the heap or of the container, the larger. */
  get memoryShare(): number {
    return this.#memory.share;
  }

  get isMemoryLow(): boolean {
    return this.#isMemoryLow;
  }

  /** Calls back when memory becomes low and when it is enough again. */
  onMemory(callback: (isLow: boolean) => void): void {
    this.#listeners.push(callback);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#delays.disable();
    this.#memory[Symbol.dispose]();
  }

  #sample(): void {
    const utilisation = performance.eventLoopUtilization();
    this.#utilisedShare = performance.eventLoopUtilization(utilisation, this.#utilisation).utilization;
    this.#utilisation = utilisation;
    // The mean is NaN when the loop came to no sample.
    this.#lagMs = Math.max(0, this.#delays.mean / 1e6 - LAG_RESOLUTION_MS) || 0;
    this.#delays.reset();
    this.#memory.sample();
    if (this.#isMemoryLow) this.#memory.collect();
    this.#checkMemory();
  }

  #checkMemory(): void {
    const { memoryGuard } = this.#options.profile;
    const mayBeLow = !this.#isMemoryLow && this.#memory.share >= memoryGuard;
    const isExact = mayBeLow && this.#memory.collect();
    const { share } = this.#memory;
    // Without an exact measure a little more than the guard may be garbage; much more cannot wait for one.
    if (mayBeLow && share >= (isExact ? memoryGuard : (1 + memoryGuard) / 2)) this.#setMemoryLow(true);
    else if (this.#isMemoryLow && share < memoryGuard - MARGIN) this.#setMemoryLow(false);
    if (!this.#isMemoryLow) this.#warnEarly(share, memoryGuard - WARNING_MARGIN);
  }

  #setMemoryLow(isLow: boolean): void {
    this.#isMemoryLow = isLow;
    this.#isWarned = true;
    const until = `${Math.round((this.#options.profile.memoryGuard - MARGIN) * 100)} %`;
    const figures = this.#memory.figures;
    if (isLow) {
      this.#options.logger?.warn(figures, `memory is short: taking no more jobs until it is below ${until}`);
    } else {
      this.#options.logger?.info(figures, "memory is enough again: taking jobs");
    }
    memoryChannel.publish({ isLow, memoryShare: this.memoryShare });
    for (const listener of this.#listeners) listener(isLow);
  }

  #warnEarly(share: number, threshold: number): void {
    if (share < threshold - WARNING_MARGIN) this.#isWarned = false;
    if (this.#isWarned || share < threshold) return;
    this.#isWarned = true;
    this.#options.logger?.warn(this.#memory.figures, "memory use is high");
  }
}
