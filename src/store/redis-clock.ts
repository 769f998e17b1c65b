import type { Redis } from "ioredis";

/** How long an answer of Redis counts. */
const FRESH_MS = 60_000;
/** This machine's clock was set, or the machine slept, when its two clocks differ by more since the last answer. */
const STEP_MS = 1000;

interface Seen {
  /** Epoch milliseconds by Redis. */
  now: number;
  /** This machine's clocks at that moment: the one that can be set, and the one that only runs on. */
  wall: number;
  monotonic: number;
}

/** One per connection, for all who use it. */
const clocks = new WeakMap<Redis, RedisClock>();

/** Returns the clock of the Redis behind the store. */
export function clockOf({ redis }: { redis: Redis }): RedisClock {
  const clock = clocks.get(redis) ?? new RedisClock(redis);
  clocks.set(redis, clock);
  return clock;
}

/**
 * The time by Redis, which all machines of a fleet share: deadlines are set and judged by it, so that a machine whose clock
 * is wrong neither fails jobs nor lets them live for ever. Redis is asked now and then; in between a monotonic clock
 * counts, which nobody can set.
 */
class RedisClock {
  readonly #redis: Redis;
  #seen: Seen | undefined;
  #skippedMs = 0;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Returns the time by Redis, in epoch milliseconds, as far as it is known; before the first look that of this machine. */
  now(): number {
    if (!this.#seen) return Date.now() + this.#skippedMs;
    return Math.floor(this.#seen.now + performance.now() - this.#seen.monotonic) + this.#skippedMs;
  }

  /** Returns the same from an answer of Redis that is less than a minute old: asks when there is none. */
  async fresh(): Promise<number> {
    if (!this.#isFresh()) await this.look();
    return this.now();
  }

  /** Lets this process be so many milliseconds later at once: for tests of what waits for long. */
  skip(ms: number): void {
    this.#skippedMs += ms;
  }

  /** Asks Redis. Returns how far this machine's clock is ahead of it, in milliseconds; negative when it is behind. */
  async look(): Promise<number> {
    const before = Date.now();
    const sentAt = performance.now();
    const [seconds, microseconds] = await this.#redis.time();
    const monotonic = performance.now();
    const wall = Date.now();
    const theirs = Number(seconds) * 1000 + Number(microseconds) / 1000;
    // What lies between both looks is no fault of the clock: Redis may have answered late.
    const latest = theirs + monotonic - sentAt;
    this.#seen = { now: Math.min(Math.max(wall, theirs), latest), wall, monotonic };
    return before > theirs ? before - theirs : Math.min(0, wall - theirs);
  }

  #isFresh(): boolean {
    if (!this.#seen) return false;
    const ageMs = performance.now() - this.#seen.monotonic;
    return ageMs < FRESH_MS && Math.abs(Date.now() - this.#seen.wall - ageMs) < STEP_MS;
  }
}
