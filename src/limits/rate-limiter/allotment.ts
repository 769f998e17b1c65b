import type { BucketSettings } from "./bucket-settings.ts";
import type { SharedBucket } from "./shared-bucket.ts";
import { SupplyEstimate } from "./supply-estimate.ts";

const IDLE_MS = 200;

/**
 * The units of one limit that this process has bought and not yet spent. Estimates are settled here, without
 * a call to Redis: an overestimate pays for the next request, an underestimate makes the balance negative.
 */
export class Allotment {
  readonly #bucket: SharedBucket;
  readonly #unitsNeeded: () => number;
  #settings: BucketSettings;
  #supply: SupplyEstimate;
  #balance = 0;
  #isBuying = false;
  #isClosed = false;
  #usedAtMs = 0;
  readonly #borrowers = new WeakSet<object>();
  #timer: NodeJS.Timeout | undefined;

  /** @param unitsNeeded what the next request in the wait queue needs of this limit; 0 when none waits */
  constructor(bucket: SharedBucket, settings: BucketSettings, unitsNeeded: () => number) {
    this.#bucket = bucket;
    this.#settings = settings;
    this.#supply = new SupplyEstimate(settings.ratePerSecond, settings.maximum, performance.now());
    this.#unitsNeeded = unitsNeeded;
  }

  covers(units: number): boolean {
    return units === 0 || this.#balance >= units;
  }

  spend(units: number): void {
    this.#balance -= units;
    this.#touch();
  }

  /** Corrects an earlier spending; negative when it was too low. */
  refund(units: number): void {
    if (this.#isClosed) return;
    // A paced unit is good for its moment only: used later, it would crowd the next one.
    if (!this.#settings.isPaced || units < 0) this.#balance += units;
    // The provider's bucket owes a long answer to all: what the others buy meanwhile would be refused.
    if (this.#balance < -this.#settings.quantum) this.#giveBack(this.#balance).catch(() => {});
    this.#touch();
  }

  /** Buys one quantum, unless a purchase is under way. @returns whether it bought */
  async buy(): Promise<boolean> {
    if (this.#isBuying || this.#isClosed) return false;
    this.#isBuying = true;
    const startedAtMs = performance.now();
    try {
      const units = await this.#bucket.buy(this.#supply.intervalMs(this.#settings.quantum));
      this.#balance += units;
      this.#supply.bought(units, performance.now() - startedAtMs, performance.now());
      this.#touch();
    } finally {
      this.#isBuying = false;
    }
    return true;
  }

  /**
   * Borrows what is missing of `units` from the fleet's bucket, once for each borrower, else buys.
   * @returns whether there is more than before
   */
  async borrow(units: number, borrower: object): Promise<boolean> {
    if (this.#borrowers.has(borrower)) return this.buy();
    this.#borrowers.add(borrower);
    const missing = units - this.#balance;
    if (!(await this.#bucket.borrow(missing))) return this.buy();
    this.#balance += missing;
    this.#touch();
    return true;
  }

  /** Voids what is bought, since the provider holds less than was counted; debts stay. Nothing can be bought for `ms`. */
  empty(ms: number): void {
    this.#balance = Math.min(0, this.#balance);
    this.#supply.empty(performance.now() + ms);
  }

  /** Empties the fleet's bucket, so that nobody can buy for so long. */
  drain(ms: number): Promise<void> {
    return this.#bucket.drain(ms);
  }

  /** Returns in how many milliseconds `units` can be had, the balance counted in. */
  predictedWaitMs(units: number): number {
    return this.#supply.waitMs(units - this.#balance, performance.now());
  }

  retune(settings: BucketSettings): void {
    this.#settings = settings;
    this.#supply = new SupplyEstimate(settings.ratePerSecond, settings.maximum, performance.now());
    this.#bucket.retune(settings);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const givenBack = this.#giveBack(this.#balance).catch(() => {});
    await Promise.all([givenBack, this.#bucket.close()]);
  }

  #touch(): void {
    if (this.#isClosed) return;
    this.#usedAtMs = performance.now();
    this.#timer ??= setTimeout(() => this.#sweep(), IDLE_MS).unref();
  }

  /**
   * Returns an idle allotment to the fleet, debts too. A busy one returns what exceeds the next request and a
   * quantum: hoarded refunds, spent at once, would overrun the provider's bucket.
   */
  #sweep(): void {
    this.#timer = undefined;
    const needed = this.#unitsNeeded();
    const idleMs = performance.now() - this.#usedAtMs;
    if (needed === 0) this.#supply.idle();
    if (needed === 0 && idleMs >= IDLE_MS - 1) {
      this.#giveBack(this.#balance).catch(() => {});
      return;
    }
    const spare = this.#balance - needed - this.#settings.quantum;
    if (needed > 0 && spare > 0) this.#giveBack(spare).catch(() => {});
    this.#timer = setTimeout(() => this.#sweep(), IDLE_MS).unref();
  }

  async #giveBack(units: number): Promise<void> {
    if (units === 0) return;
    if (this.#settings.isPaced) {
      this.#balance = Math.min(0, this.#balance);
      return;
    }
    this.#balance -= units;
    this.#supply.gaveBack(units, performance.now());
    await this.#bucket.giveBack(units);
  }
}
