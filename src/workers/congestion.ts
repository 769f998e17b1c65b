/**
 * Calls at a time under a provider whose limit nobody configured: halved when it asks for a pause, one more per round
 * of answers (additive increase, multiplicative decrease: V. Jacobson, Congestion Avoidance and Control, 1988).
 * Without it every pause would end with all calls at once, and the next 429 for most of them.
 */
export class Congestion {
  readonly #maximum: number;
  #concurrency: number;
  #answers = 0;
  #limitedAt = Number.NEGATIVE_INFINITY;

  /** @param maximum the configured concurrency, also the first one */
  constructor(maximum: number) {
    this.#maximum = maximum;
    this.#concurrency = maximum;
  }

  /** @returns the calls to have at a time from now on */
  answered(): number {
    this.#answers += 1;
    if (this.#answers >= this.#concurrency && this.#concurrency < this.#maximum) {
      this.#answers = 0;
      this.#concurrency += 1;
    }
    return this.#concurrency;
  }

  /** @param startedAt of the refused call (`performance.now()`): calls of one round halve it only once */
  limited(startedAt: number, now = performance.now()): number {
    if (startedAt > this.#limitedAt) {
      this.#limitedAt = now;
      this.#answers = 0;
      this.#concurrency = Math.max(1, Math.floor(this.#concurrency / 2));
    }
    return this.#concurrency;
  }
}
