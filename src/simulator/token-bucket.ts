/** A bucket's state at one instant, as the limit headers tell it. */
export interface BucketReading {
  perMinute: number;
  /** The whole units that may be taken now. */
  remaining: number;
  fullInMs: number;
}

/**
 * A continuous token bucket (A. Tanenbaum, Computer Networks, "token bucket"): holds `capacity`, gains
 * `perMinute / 60,000` each millisecond, never gives what it does not hold. Hence no window of t milliseconds
 * ever sees more than `capacity + t · perMinute / 60,000` taken. The one exception is an amount above the capacity
 * but within a minute's limit: a full bucket gives it and owes the rest, as no other instant could serve it.
 * Times are monotonic milliseconds.
 */
export class TokenBucket {
  #perMinute: number;
  #capacity: number;
  #level: number;
  #levelAtMs: number;

  constructor(perMinute: number, capacity: number, nowMs: number, startFull: boolean) {
    this.#perMinute = perMinute;
    this.#capacity = capacity;
    this.#level = startFull ? capacity : 0;
    this.#levelAtMs = nowMs;
  }

  get capacity(): number {
    return this.#capacity;
  }

  get perMinute(): number {
    return this.#perMinute;
  }

  /** Returns the milliseconds until `amount` may be taken; Infinity when it is above a minute's limit and the capacity. */
  waitMs(amount: number, nowMs: number): number {
    if (amount > Math.max(this.#capacity, this.#perMinute)) return Number.POSITIVE_INFINITY;
    const missing = Math.min(amount, this.#capacity) - this.#refill(nowMs);
    return missing <= 0 ? 0 : (missing * 60_000) / this.#perMinute;
  }

  /** Takes `amount`; the caller has seen `waitMs` answer 0 at the same instant. */
  take(amount: number, nowMs: number): void {
    this.#level = this.#refill(nowMs) - amount;
  }

  /** Sets a new rate from now on; what the bucket holds stays, up to the new capacity. */
  resize(perMinute: number, capacity: number, nowMs: number): void {
    this.#level = Math.min(this.#refill(nowMs), capacity);
    this.#perMinute = perMinute;
    this.#capacity = capacity;
  }

  read(nowMs: number): BucketReading {
    const level = this.#refill(nowMs);
    return {
      perMinute: this.#perMinute,
      remaining: Math.max(0, Math.floor(level)),
      fullInMs: ((this.#capacity - level) * 60_000) / this.#perMinute,
    };
  }

  #refill(nowMs: number): number {
    const gained = ((nowMs - this.#levelAtMs) * this.#perMinute) / 60_000;
    this.#level = Math.min(this.#capacity, this.#level + gained);
    this.#levelAtMs = nowMs;
    return this.#level;
  }
}
