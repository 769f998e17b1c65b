/**
 * All that knows Bottleneck. Nobody maintains it any more, so what it does wrong for a fleet under load is worked around
 * here: each comment says what it does, why that hurts, and what is done instead. The rest of the limiter sees
 * `BucketConnection` and `FleetBucket`.
 */
import { setImmediate } from "node:timers/promises";
import Bottleneck from "bottleneck";
import { Redis } from "ioredis";
import type { BucketSettings } from "./bucket-settings.ts";

/**
 * Bottleneck looks for new units every 5 s and wakes waiters only then: 80 % of the rate would be lost. Here a purchase that
 * waits has its bucket filled when a quantum is due, within these bounds; Bottleneck then tells whoever has waited longest,
 * in whatever process. A word that was lost is said again by its own look, which is every second.
 */
const [MIN_FILL_MS, MAX_FILL_MS, HEARTBEAT_MS] = [10, 250, 1000];
/** A purchase of a process that died in the midst of it would stay on Bottleneck's books for ever without this. */
const PURCHASE_EXPIRATION_MS = 60_000;
const WATCH_MS = 1000;
/** Bottleneck adds whole units at any interval; small steps keep the bucket close to continuous. */
const INCREASE_STEP_SECONDS = 0.02;

/** A budget that nobody used for so long, after its last unit was due, leaves nothing in Redis. */
const KEEP_MS = 7 * 24 * 3_600_000;
/** The expiry is written when it is off by more, not by every script: each one would go into Redis' log. */
const KEEP_TOLERANCE_MS = 3_600_000;
/** The versions before 0.2 write the clocks of their processes, which synchronised machines have less apart than this. */
const CLOCK_TOLERANCE_MS = 1000;

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
    ${script}
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

/** The two connections (commands, subscriptions) that all buckets of a process share. */
export class BucketConnection {
  readonly client: Redis;
  readonly bottleneck: Bottleneck.IORedisConnection;
  readonly #subscriber: Redis;
  readonly #isOwner: boolean;
  readonly #listening = new AbortController();

  /**
   * @param subscriber is used, with `redis`, and left to its owner; without it both connections are copies of `redis`,
   * opened at once, that wait for Redis through any outage
   */
  constructor(redis: Redis, subscriber?: Redis) {
    this.#isOwner = subscriber === undefined;
    this.client = subscriber ? redis : redis.duplicate(COPY);
    this.#subscriber = subscriber ?? this.client.duplicate();
    const client = this.#lend(this.client, {
      duplicate: () => this.#lend(this.#subscriber, {}),
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
      on: (event: string, listener: () => void) => {
        connection.on(event, listener);
        this.#listening.signal.addEventListener("abort", () => connection.off(event, listener));
      },
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

/** The token bucket of one limit of the fleet: a Bottleneck limiter whose jobs do nothing and weigh one quantum. `open` comes first, `release` last. */
export class FleetBucket {
  readonly #connection: BucketConnection;
  readonly #settings: BucketSettings;
  readonly #settingsKey: string;
  readonly #limiter: Bottleneck;
  #quantum: number;
  #isFilling = false;
  #released: Promise<void> | undefined;

  /** @param id names the keys in Redis (`b_<id>_…`), so it carries the hash tag */
  constructor(connection: BucketConnection, id: string, settings: BucketSettings) {
    this.#connection = connection;
    this.#settings = settings;
    this.#settingsKey = `b_${id}_settings`;
    this.#quantum = settings.quantum;
    this.#limiter = new Bottleneck({
      id,
      // Without the class, Bottleneck evaluates a `require`, which ES modules do not have.
      Redis,
      connection: connection.bottleneck,
      heartbeatInterval: HEARTBEAT_MS,
      ...storedSettings(settings),
    });
  }

  /**
   * @param isFirst this process has not written these settings for the fleet yet
   * @param onFault is called when Redis refuses something that nobody waits for
   */
  async open(isFirst: boolean, onFault: (error: unknown) => void): Promise<void> {
    this.#limiter.on("error", onFault);
    await this.#limiter.ready();
    if (isFirst) await this.#assertSettings();
    this.#quantum = Math.min(this.#quantum, await this.#storedMaximum());
  }

  /**
   * Waits until the bucket holds a quantum and takes it. At most one purchase at a time.
   *
   * @param dueMs about how long a quantum takes to come
   * @returns the units bought
   * @throws when Redis refuses, or the bucket was released meanwhile
   */
  async buy(dueMs: number): Promise<number> {
    const watch = setInterval(() => void this.#releaseWhenTooSmall(), WATCH_MS).unref();
    const fill = setInterval(
      () => void this.#fill(),
      Math.min(MAX_FILL_MS, Math.max(MIN_FILL_MS, dueMs)),
    ).unref();
    try {
      await new Promise<void>((resolve, reject) => {
        // Resolved from inside the job: the units count from here, without the round trip that ends the job.
        const bought = async () => resolve();
        const job = { weight: this.#quantum, expiration: PURCHASE_EXPIRATION_MS };
        this.#limiter.schedule(job, bought).catch(reject);
      });
      return this.#quantum;
    } finally {
      clearInterval(watch);
      clearInterval(fill);
    }
  }

  /** Adds what has come since the last time, and tells who waits. While Redis is away nothing piles up. */
  async #fill(): Promise<void> {
    if (this.#isFilling) return;
    this.#isFilling = true;
    await this.#limiter.currentReservoir().catch(() => {});
    this.#isFilling = false;
  }

  /** Adds units, or takes them away. Bottleneck would go over the bucket's size: what does not fit is taken out again. */
  async add(units: number): Promise<void> {
    const level = await this.#limiter.incrementReservoir(units);
    const overflow = Math.min(units, level - this.#settings.maximum);
    if (overflow > 0) await this.#limiter.incrementReservoir(-overflow);
  }

  /**
   * Takes units that have not come yet; whoever buys next waits for them too.
   * @returns false, and nothing is taken, where the bucket's debt would be larger than `maxDebt`
   */
  async borrow(units: number, maxDebt: number): Promise<boolean> {
    const level = await this.#limiter.incrementReservoir(-units);
    if (level >= -maxDebt) return true;
    await this.#limiter.incrementReservoir(units);
    return false;
  }

  /** Leaves at most so many units; a negative level is a debt. */
  async lowerTo(reservoir: number): Promise<void> {
    if ((await this.#limiter.currentReservoir())! > reservoir)
      await this.#limiter.updateSettings({ reservoir });
  }

  /** Rejects a purchase that waits. The same id may be opened again once this has resolved. */
  release(): Promise<void> {
    this.#released ??= this.#limiter
      .stop({ dropWaitingJobs: true })
      .catch(() => {})
      .then(() => this.#limiter.disconnect(false))
      .then(() => this.#connection.unsubscribed())
      .catch(() => {});
    return this.#released;
  }

  /** A job heavier than a maximum that another process lowered would wait for ever: its bucket is released. */
  async #releaseWhenTooSmall(): Promise<void> {
    // While Redis is away the next round asks again.
    const maximum = await this.#storedMaximum().catch(() => Number.POSITIVE_INFINITY);
    if (this.#quantum > maximum) await this.release();
  }

  /**
   * Bottleneck keeps the settings of whoever came first, also of an earlier run. Each process writes its own
   * once when they differ, so the last one configured wins and a mixed fleet does not write in turns.
   */
  async #assertSettings(): Promise<void> {
    const settings = storedSettings(this.#settings);
    const { reservoir: _, ...compared } = settings;
    const wanted = Object.values(compared).map((value) => String(value ?? ""));
    const current = await this.#connection.client.hmget(this.#settingsKey, ...Object.keys(compared));
    if (wanted.some((value, index) => value !== current[index])) await this.#limiter.updateSettings(settings);
  }

  /** What the fleet's bucket holds at most; infinite for a paced one. */
  async #storedMaximum(): Promise<number> {
    const text = await this.#connection.client.hget(this.#settingsKey, "reservoirIncreaseMaximum");
    return text ? Number(text) : Number.POSITIVE_INFINITY;
  }
}

/** Whether a purchase was rejected because its bucket was released, and not by Redis. */
export function isReleased(error: unknown): boolean {
  return error instanceof Bottleneck.BottleneckError;
}

/** What Bottleneck stores for the fleet. A paced bucket has no reservoir, but a time between jobs. */
export function storedSettings({ ratePerSecond, maximum, isPaced }: BucketSettings) {
  const amount = Math.max(1, Math.round(ratePerSecond * INCREASE_STEP_SECONDS));
  return {
    reservoir: isPaced ? null : 0,
    reservoirIncreaseAmount: isPaced ? null : amount,
    reservoirIncreaseInterval: isPaced ? null : (amount / ratePerSecond) * 1000,
    reservoirIncreaseMaximum: isPaced ? null : maximum,
    minTime: isPaced ? Math.round(1000 / ratePerSecond) : 0,
  };
}
