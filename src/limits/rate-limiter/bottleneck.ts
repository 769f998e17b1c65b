/**
 * All that knows Bottleneck, with fleet-bucket.ts. Nobody maintains it any more, so what it does wrong for a fleet under load
 * is worked around in these two: each comment says what it does, why that hurts, and what is done instead. The rest of the
 * limiter sees `BucketConnection` and `FleetBucket`.
 */
import { setImmediate } from "node:timers/promises";
import Bottleneck from "bottleneck";
import { Redis } from "ioredis";

/** A budget that nobody used for so long, after its last unit was due, leaves nothing in Redis. */
const KEEP_MS = 7 * 24 * 3_600_000;
/** The expiry is written when it is off by more, not by every script: each one would go into Redis' log. */
const KEEP_TOLERANCE_MS = 3_600_000;
/** The versions before 0.2 write the clocks of their processes, which synchronised machines have less apart than this. */
const CLOCK_TOLERANCE_MS = 1000;

/** About so many processes do what Bottleneck has all of them do. */
export const FEW = 4;
/** Lua: the clients of a bucket are at hand as KEYS[8]. Redis' own random numbers begin anew in each script. */
const IS_ONE_OF_FEW = `time[2] % math.max(1, redis.call('ZCARD', KEYS[8])) < ${FEW}`;

/**
 * Every script of Bottleneck runs inside this one, since there is no other way into them:
 *
 * - Bottleneck passes the process's clock and stores it. A process whose clock is ahead fills the bucket from the
 *   future, and all others wait until they have caught up. Here the script gets the time of Redis instead.
 * - A clock that went back (of Redis, or of a process of an earlier version) leaves times in the future: nothing is added
 *   to the bucket until then, and no paced unit falls due. The same is left by slots that were given away under a limit
 *   since raised. Here such times are brought back: a fill to now, a slot to one that the known clients may have.
 * - Bottleneck's keys never expire. Its option `timeout` leaves out what heartbeats and waiting clients write, and
 *   what is there already. Here every script gives every key its expiry, which waits for a slot far in the future.
 * - Bottleneck recognises its two errors by the whole message, but Redis 7 puts `ERR ` before them; and it does nothing
 *   when a heartbeat finds that Redis was emptied. All would wait for ever. Here the prefix goes, and a heartbeat gets the
 *   other error, after which Bottleneck restores the bucket.
 * - Each process's heartbeat tells all of what there is, so that nobody waits beside a full bucket whose word was lost. In a fleet of a thousand that is a
 *   million messages at every beat. Here about four of a beat's processes tell it, and the others only what is new.
 *
 * KEYS: Bottleneck's eight keys of a bucket: 1 settings, 8 when each client was last seen. ARGV: 1 the time in ms, replaced
 * here; the others are the script's own. Returns what the script returns. Bottleneck alone calls it, and each call is a
 * whole step of the bucket, so nothing else fences it.
 */
const wrapped = (name: string, script: string) => `
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  ARGV[1] = string.format('%.0f', now)
  local function stored(name) return tonumber(redis.call('HGET', KEYS[1], name) or '') or 0 end
  local function bringBack(name, latest)
    if stored(name) > latest + ${CLOCK_TOLERANCE_MS} then redis.call('HSET', KEYS[1], name, string.format('%.0f', latest)) end
  end
  bringBack('lastReservoirIncrease', now)
  bringBack('nextRequest', now + stored('minTime') * (1 + redis.call('ZCARD', KEYS[8])))

  local function script()
    ${name === "heartbeat" ? script.replace("process_tick(now, true)", `process_tick(now, ${IS_ONE_OF_FEW})`) : script}
  end
  local reply = script()

  local keepMs = math.max(0, stored('nextRequest') - now) + ${KEEP_MS}
  for _, key in ipairs(KEYS) do
    if redis.call('PTTL', key) < keepMs - ${KEEP_TOLERANCE_MS} then redis.call('PEXPIRE', key, string.format('%.0f', keepMs)) end
  end
  if type(reply) == 'table' and reply.err then
    reply.err = string.gsub(reply.err, '^ERR ', '')
    if '${name}' == 'heartbeat' then reply.err = string.gsub(reply.err, '^SETTINGS_KEY_NOT_FOUND$', 'UNKNOWN_CLIENT') end
  end
  return reply
`;

/** Of a connection that the limiter opens for itself. */
const COPY = {
  lazyConnect: false,
  enableOfflineQueue: true,
  maxRetriesPerRequest: null,
  retryStrategy: (times: number) => Math.min(50 * 2 ** times, 1000),
};

/** Whoever decides what of its channel's messages Bottleneck gets to see. */
interface Listener {
  heard(message: string): string | undefined;
}

/** The two connections (commands, subscriptions) that all buckets of a process share. */
export class BucketConnection {
  readonly client: Redis;
  readonly bottleneck: Bottleneck.IORedisConnection;
  readonly #subscriber: Redis;
  readonly #isOwner: boolean;
  readonly #listening = new AbortController();
  /** By Bottleneck's channel. */
  readonly #buckets = new Map<string, Listener>();

  /**
   * @param subscriber is used, with `redis`, and left to its owner; without it both connections are copies of `redis`,
   * opened at once, that wait for Redis through any outage
   */
  constructor(redis: Redis, subscriber?: Redis) {
    this.#isOwner = subscriber === undefined;
    this.client = subscriber ? redis : redis.duplicate(COPY);
    this.#subscriber = subscriber ?? this.client.duplicate();
    const client = this.#lend(this.client, {
      duplicate: () => this.#lend(this.#subscriber, { on: this.#onMessage }),
      defineCommand: (name: string, command: { lua: string }) =>
        this.client.defineCommand(name, { ...command, lua: wrapped(name, command.lua) }),
    });
    this.bottleneck = new Bottleneck.IORedisConnection({ client, Redis });
    // The owner of `redis` reports outages; the copies would only repeat it.
    this.bottleneck.on("error", () => {});
  }

  /**
   * Resolves when the unsubscriptions that were sent before are done. Bottleneck does not wait for them, and they would
   * hit the next limiter of the same id.
   */
  async unsubscribed(): Promise<void> {
    await this.#subscriber.ping();
    await setImmediate();
  }

  /** What is said on a bucket's channel goes by it first. */
  join(channel: string, bucket: Listener): void {
    this.#buckets.set(channel, bucket);
  }

  leave(channel: string, bucket: Listener): void {
    if (this.#buckets.get(channel) === bucket) this.#buckets.delete(channel);
  }

  readonly #onMessage = (event: string, listener: (...args: string[]) => void) => {
    if (event !== "message") return this.#listen(this.#subscriber, event, listener);
    this.#listen(this.#subscriber, event, (channel = "", message = "") => {
      const bucket = this.#buckets.get(channel);
      const heard = bucket ? bucket.heard(message) : message;
      if (heard !== undefined) listener(channel, heard);
    });
  };

  #listen(connection: Redis, event: string, listener: (...args: string[]) => void): void {
    connection.on(event, listener);
    this.#listening.signal.addEventListener("abort", () => connection.off(event, listener));
  }

  /** Ends the connections that are copies, and leaves the others as they were. */
  async close(): Promise<void> {
    await this.bottleneck.disconnect(false);
    this.#listening.abort();
    if (!this.#isOwner) return;
    this.client.disconnect();
    this.#subscriber.disconnect();
  }

  /**
   * Bottleneck takes connections for its own: it ends them, and its listeners stay on them. It also leaves the rejections
   * of its unsubscriptions unhandled, which would end the process when Redis is away. So it gets them with other methods.
   */
  #lend(connection: Redis, methods: Record<string, (...args: never[]) => unknown>): Redis {
    const lent: typeof methods = {
      disconnect: () => {},
      // BullMQ counts them up and down from what it finds.
      setMaxListeners: () => {},
      on: (event: string, listener: () => void) => this.#listen(connection, event, listener),
      unsubscribe: (channel: string) => connection.unsubscribe(channel).catch(() => {}),
      ...methods,
    };
    return new Proxy(connection, {
      get(target, name) {
        const member = Object.hasOwn(lent, name) ? lent[String(name)] : Reflect.get(target, name, target);
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
  }
}
