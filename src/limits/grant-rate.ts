/** How far back the rate looks, as the time constant of an exponential decay. */
const RATE_SECONDS = 2;
/** A rate over less time than this would be a guess. */
const MIN_SECONDS = 0.1;

/** The number of grants per second of late. Times are in milliseconds and never go back. */
export class GrantRate {
  /** Grants, each counting e^(-age / RATE_SECONDS), as of `#lastAtMs`. */
  #recent = 0;
  #firstAtMs: number | undefined;
  #lastAtMs = 0;

  /** Counts a grant. */
  add(atMs: number): void {
    this.#recent = this.#recentAt(atMs) + 1;
    this.#firstAtMs ??= atMs;
    this.#lastAtMs = atMs;
  }

  /** Returns the grants per second, over the last few seconds. */
  perSecond(nowMs: number): number {
    const seconds = Math.max(MIN_SECONDS, (nowMs - (this.#firstAtMs ?? nowMs)) / 1000);
    // The count at a steady rate approaches rate × RATE_SECONDS, from below at the start.
    return this.#recentAt(nowMs) / (RATE_SECONDS * (1 - Math.exp(-seconds / RATE_SECONDS)));
  }

  #recentAt(atMs: number): number {
    return this.#recent * Math.exp((this.#lastAtMs - atMs) / 1000 / RATE_SECONDS);
  }
}
