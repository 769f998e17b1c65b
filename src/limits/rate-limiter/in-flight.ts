import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { RedisScript } from "../../store/redis-script.ts";

/** A process that dies frees its slots after this long. */
const LEASE_MS = 15_000;
const RENEW_MS = 5000;
const POLL_MS = 50;

/**
 * Takes a slot when one is free.
 * KEYS: 1 the slots, a sorted set: slot id by the end of its lease on the clock of Redis. ARGV: 1 slot id, 2 length of the
 * lease in ms, 3 number of slots. Returns 1 when it was taken, else 0. Called by `take`; the count of the set fences it.
 */
const TAKE = new RedisScript(`
  local time = redis.call('TIME')
  local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', nowMs)
  if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
  redis.call('ZADD', KEYS[1], nowMs + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
`);
/**
 * Renews leases. KEYS: 1 the slots. ARGV: 1 length of the lease in ms, then slot ids. Called by the timer of the process
 * that holds them; a lease that ended does not come back.
 */
const RENEW = new RedisScript(`
  local time = redis.call('TIME')
  local endsMs = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
  for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', endsMs, ARGV[i]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
`);

/** Calls in flight of one budget: a fleet-wide number of slots, each leased to the process that uses it. */
export class InFlightSlots {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #owner = randomUUID();
  readonly #held = new Set<string>();
  #free: string | undefined;
  #taken = 0;
  #isTaking = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  maximum: number;

  constructor(redis: Redis, key: string, maximum: number) {
    this.#redis = redis;
    this.#key = key;
    this.maximum = maximum;
  }

  get isFree(): boolean {
    return this.#free !== undefined;
  }

  /** Returns the free slot; the caller gives it back with `release`. */
  use(): string {
    const slot = this.#free!;
    this.#free = undefined;
    return slot;
  }

  /** Tries once for a slot; while all are used it takes its time. Returns whether to look again. */
  async take(): Promise<boolean> {
    if (this.#isTaking || this.#free) return false;
    this.#isTaking = true;
    try {
      const slot = `${this.#owner}:${this.#taken++}`;
      if (await TAKE.run(this.#redis, [this.#key], [slot, LEASE_MS, this.maximum])) {
        this.#held.add(slot);
        if (this.#isClosed) this.release(slot);
        else {
          this.#free = slot;
          this.#timer ??= setInterval(() => this.#renew(), RENEW_MS).unref();
        }
      } else await delay(POLL_MS * (0.5 + Math.random()));
      return true;
    } finally {
      this.#isTaking = false;
    }
  }

  releaseFree(): void {
    if (this.#free !== undefined) this.release(this.use());
  }

  release(slot: string): void {
    this.#held.delete(slot);
    // Should Redis be away, the lease ends by itself.
    this.#redis.zrem(this.#key, slot).catch(() => {});
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    const slots = [...this.#held];
    this.#held.clear();
    if (slots.length > 0) await this.#redis.zrem(this.#key, ...slots).catch(() => {});
  }

  #renew(): void {
    if (this.#held.size > 0) RENEW.run(this.#redis, [this.#key], [LEASE_MS, ...this.#held]).catch(() => {});
  }
}
