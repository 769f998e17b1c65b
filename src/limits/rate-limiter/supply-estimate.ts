/** A purchase that took longer than this found the fleet's bucket empty. */
export const WAITED_MS = 30;
const SMOOTHING = 0.3;

/**
 * Guesses, without asking Redis, how long units will take: a local picture of the shared bucket, corrected by
 * how long purchases took. Other processes' shares show in the rate at which this one's purchases arrive.
 */
export class SupplyEstimate {
  readonly #maxRatePerMs: number;
  readonly #maximum: number;
  #ratePerMs: number;
  #stock: number;
  #stockAtMs: number;
  #emptyAtMs: number | undefined;
  #boughtSinceEmpty = 0;

  constructor(ratePerSecond: number, maximum: number, nowMs: number) {
    this.#maxRatePerMs = ratePerSecond / 1000;
    this.#ratePerMs = this.#maxRatePerMs;
    this.#maximum = maximum;
    this.#stock = maximum;
    this.#stockAtMs = nowMs;
  }

  /** Learns from a purchase and how long it took. */
  bought(units: number, tookMs: number, nowMs: number): void {
    this.#boughtSinceEmpty += units;
    if (tookMs < WAITED_MS) {
      this.#setStock(Math.max(0, this.#stockAt(nowMs) - units), nowMs);
      return;
    }
    const sinceMs = nowMs - (this.#emptyAtMs ?? nowMs - tookMs);
    const observed = this.#boughtSinceEmpty / sinceMs;
    this.#ratePerMs = Math.min(
      this.#maxRatePerMs,
      this.#ratePerMs + SMOOTHING * (observed - this.#ratePerMs),
    );
    this.#setStock(0, nowMs);
    this.#emptyAtMs = nowMs;
    this.#boughtSinceEmpty = 0;
  }

  /** Notes what went back to the fleet's bucket; negative: a debt. */
  gaveBack(units: number, nowMs: number): void {
    this.#setStock(this.#stockAt(nowMs) + units, nowMs);
  }

  /** Notes that demand paused: what arrives next says nothing about the rate. */
  idle(): void {
    this.#emptyAtMs = undefined;
    this.#boughtSinceEmpty = 0;
  }

  /** Notes that the fleet's bucket holds nothing, and gains nothing before `fromMs`. */
  empty(fromMs: number): void {
    this.#setStock(0, fromMs);
    this.idle();
  }

  /** Returns in how many milliseconds so many units come for this process. */
  intervalMs(units: number): number {
    return units / this.#ratePerMs;
  }

  /** Returns the milliseconds until the fleet can sell so many units to this process. */
  waitMs(units: number, nowMs: number): number {
    return Math.max(0, units - this.#stockAt(nowMs)) / this.#ratePerMs;
  }

  #setStock(units: number, nowMs: number): void {
    this.#stock = units;
    this.#stockAtMs = nowMs;
  }

  #stockAt(nowMs: number): number {
    return Math.min(this.#maximum, this.#stock + (nowMs - this.#stockAtMs) * this.#maxRatePerMs);
  }
}
