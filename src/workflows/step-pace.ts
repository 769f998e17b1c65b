/** The longest that a run stays awake for a step outside of it. */
const LINGER_MS = 500;

/**
 * Tells from the last step of a run how soon the next one may have ended. To put a run to sleep and to wake it costs three scripts of Redis and
 * another look at its record: where steps are that fast (answers from the cache, small models nearby), it stays awake.
 */
export class StepPace {
  #askedAt = Number.NEGATIVE_INFINITY;
  #tookMs = Number.POSITIVE_INFINITY;

  /** Steps outside of the run were asked for. */
  asked(): void {
    this.#askedAt = performance.now();
  }

  /** One of them has ended. */
  ended(): void {
    this.#tookMs = performance.now() - this.#askedAt;
  }

  /** For how long the run is to stay awake from now on; not above 0: it may sleep. */
  get lingerMs(): number {
    return this.#tookMs < LINGER_MS ? this.#askedAt + LINGER_MS - performance.now() : 0;
  }
}
