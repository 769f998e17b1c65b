import Bottleneck from "bottleneck";
import { Redis } from "ioredis";
import { type BucketConnection, FEW } from "./bottleneck.ts";
import type { BucketSettings } from "./bucket-settings.ts";
import { WAITED_MS } from "./supply-estimate.ts";

/**
 * Bottleneck looks for new units every 5 s and wakes waiters only then: 80 % of the rate would be lost. Here a purchase that
 * waits has its bucket filled when a quantum is due, within these bounds; Bottleneck then tells whoever has waited longest,
 * in whatever process. A word that was lost is said again by the next fill, and by its own look.
 */
const [MIN_FILL_MS, MAX_FILL_MS, HEARTBEAT_MS] = [10, 250, 3000];
/** A fleet that waits fills its bucket as often, however large it is. */
const FLEET_FILL_MS = 10;
/** A purchase of a process that died in the midst of it would stay on Bottleneck's books for ever without this. */
const PURCHASE_EXPIRATION_MS = 60_000;
const WATCH_MS = 1000;

/** The token bucket of one limit of the fleet: a Bottleneck limiter whose jobs do nothing and weigh one quantum. `open` comes first, `release` last. */
export class FleetBucket {
  readonly #connection: BucketConnection;
  readonly #settings: BucketSettings;
  readonly #settingsKey: string;
  readonly #clientsKey: string;
  readonly #channel: string;
  readonly #limiter: Bottleneck;
  #quantum: number;
  #clientId = "";
  /** Processes that have it open, as far as this one knows. */
  #fleetSize = 1;
  /** Units that may be bought at once after a purchase that did not wait. */
  #grown = 0;
  /** There is what its purchase waits for: the word may have been lost. */
  #isForgotten = false;
  #released: Promise<void> | undefined;

  /** @param id names the keys in Redis (`b_<id>_…`), so it carries the hash tag */
  constructor(connection: BucketConnection, id: string, settings: BucketSettings) {
    this.#connection = connection;
    this.#settings = settings;
    this.#settingsKey = `b_${id}_settings`;
    this.#clientsKey = `b_${id}_client_last_seen`;
    this.#quantum = settings.quantum;
    this.#limiter = new Bottleneck({
      id,
      // Without the class, Bottleneck evaluates a `require`, which ES modules do not have.
      Redis,
      connection: connection.bottleneck,
      heartbeatInterval: HEARTBEAT_MS,
      ...storedSettings(settings),
    });
    this.#channel = this.#limiter.channel();
  }

  /**
   * @param isFirst this process has not written these settings for the fleet yet
   * @param onFault is called when Redis refuses something that nobody waits for
   */
  async open(isFirst: boolean, onFault: (error: unknown) => void): Promise<void> {
    this.#limiter.on("error", onFault);
    this.#connection.join(this.#channel, this);
    await this.#limiter.ready();
    // No declaration has it.
    const limiter = this.#limiter as unknown as { channel_client(): string };
    this.#clientId = limiter.channel_client().slice(this.#channel.length + 1);
    if (isFirst) await this.#assertSettings();
    this.#quantum = Math.min(this.#quantum, await this.#look());
  }

  /**
   * Waits until the bucket holds a quantum and takes it. At most one purchase at a time.
   *
   * @param dueMs about how long a quantum takes to come
   * @returns the units bought
   * @throws when Redis refuses, or the bucket was released meanwhile
   */
  async buy(dueMs: number): Promise<number> {
    const units = this.#unitsAtOnce;
    const startedAtMs = performance.now();
    const watch = setInterval(() => void this.#releaseWhenTooSmall(units), WATCH_MS).unref();
    let fill: NodeJS.Timeout | undefined;
    const fillLater = () => {
      fill = setTimeout(async () => {
        // While Redis is away nothing piles up.
        const level = await this.#limiter.currentReservoir().catch(() => null);
        this.#isForgotten = level !== null && level >= units;
        if (fill) fillLater();
      }, this.#fillMs(dueMs)).unref();
    };
    fillLater();
    try {
      await new Promise<void>((resolve, reject) => {
        // Resolved from inside the job: the units count from here, without the round trip that ends the job.
        const bought = async () => resolve();
        const job = { weight: units, expiration: PURCHASE_EXPIRATION_MS };
        this.#limiter.schedule(job, bought).catch(reject);
      });
      const hasWaited = performance.now() - startedAtMs >= WAITED_MS;
      this.#grown = hasWaited ? 0 : 2 * units;
      return units;
    } finally {
      clearTimeout(fill);
      fill = undefined;
      this.#isForgotten = false;
      clearInterval(watch);
    }
  }

  /**
   * Returns what Bottleneck is to hear of a message on the bucket's channel, which all processes get. A word about new units goes to the one that has waited
   * longest; the others await its answer, and strike it off the list when none comes within a second, as its process was killed. What it
   * leaves is for all, and so is what each one's own look finds: every one asks for it. A thousand would ask a thousand times a second, so a few do.
   */
  heard(message: string): string | undefined {
    const [kind, units, client, word] = message.split(":");
    const isForFew =
      kind === "capacity" ? units !== "" : kind === "capacity-priority" && client !== this.#clientId;
    if (!isForFew || this.#isForgotten || Math.random() * this.#fleetSize < FEW) return message;
    // The answer that is awaited.
    return client === "" ? `${kind}:0::${word}` : undefined;
  }

  /** What all may have left over of a purchase fits into the headroom; one that need not wait, since the others have no work, buys more each time. */
  get #unitsAtOnce(): number {
    const { headroom, leastQuantum } = this.#settings;
    const share = Math.floor(headroom / this.#fleetSize);
    return Math.min(this.#quantum, Math.max(leastQuantum, share, this.#grown));
  }

  /** In a large fleet each one fills more rarely, as all who wait do it. */
  #fillMs(dueMs: number): number {
    const onesOwnMs = Math.min(MAX_FILL_MS, Math.max(MIN_FILL_MS, dueMs));
    return Math.max(onesOwnMs, this.#fleetSize * FLEET_FILL_MS * (0.5 + Math.random()));
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
    this.#connection.leave(this.#channel, this);
    this.#released ??= this.#limiter
      .stop({ dropWaitingJobs: true })
      .catch(() => {})
      .then(() => this.#limiter.disconnect(false))
      .then(() => this.#connection.unsubscribed())
      .catch(() => {});
    return this.#released;
  }

  /** A job heavier than a maximum that another process lowered would wait for ever: its bucket is released. */
  async #releaseWhenTooSmall(units: number): Promise<void> {
    // While Redis is away the next round asks again.
    const maximum = await this.#look().catch(() => Number.POSITIVE_INFINITY);
    if (units > maximum) await this.release();
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

  /** Notes how large the fleet is, and returns what its bucket holds at most; infinite for a paced one. */
  async #look(): Promise<number> {
    const { client } = this.#connection;
    const [maximum, fleetSize] = await Promise.all([
      client.hget(this.#settingsKey, "reservoirIncreaseMaximum"),
      client.zcard(this.#clientsKey),
    ]);
    this.#fleetSize = Math.max(1, fleetSize);
    return maximum ? Number(maximum) : Number.POSITIVE_INFINITY;
  }
}

/** Whether a purchase was rejected because its bucket was released, and not by Redis. */
export function isReleased(error: unknown): boolean {
  return error instanceof Bottleneck.BottleneckError;
}

/**
 * What Bottleneck stores for the fleet. A paced bucket has no reservoir, but a time between jobs. It adds whole units at any interval, and tells of each
 * addition: what is too little for anybody to buy would only be told to all.
 */
export function storedSettings({ ratePerSecond, quantum, maximum, isPaced }: BucketSettings) {
  return {
    reservoir: isPaced ? null : 0,
    reservoirIncreaseAmount: isPaced ? null : quantum,
    reservoirIncreaseInterval: isPaced ? null : (quantum / ratePerSecond) * 1000,
    reservoirIncreaseMaximum: isPaced ? null : maximum,
    minTime: isPaced ? Math.round(1000 / ratePerSecond) : 0,
  };
}
