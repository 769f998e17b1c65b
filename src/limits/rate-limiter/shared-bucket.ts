import Bottleneck from "bottleneck";
import { Redis } from "ioredis";
import type { Logger } from "../../shared/logger.ts";
import type { BucketConnection } from "./bucket-connection.ts";
import type { BucketSettings } from "./bucket-settings.ts";
import { assertSettings, storedMaximum } from "./fleet-settings.ts";

/** Bottleneck's default of 5 s wakes waiters so late that 80 % of the rate is lost. */
const HEARTBEAT_MS = 250;
const CLIENT_TIMEOUT_MS = 10_000;
const PURCHASE_EXPIRATION_MS = 60_000;
const REVIVE_MS = 1000;
const RETIRE_AFTER_MS = 30_000;

/**
 * One token bucket that all processes of the fleet buy from: a Bottleneck limiter whose jobs do nothing and
 * weigh one quantum. The limiter exists only while it is used; the state stays in Redis.
 */
export class SharedBucket {
  readonly #connection: BucketConnection;
  readonly #id: string;
  readonly #logger: Logger | undefined;
  #settings: BucketSettings;
  #asserted: BucketSettings | undefined;
  #quantum: number;
  #opening: Promise<Bottleneck> | undefined;
  #limiter: Bottleneck | undefined;
  #releasing: Promise<void> = Promise.resolve();
  #isBuying = false;
  #isFaultReported = false;
  #retireTimer: NodeJS.Timeout | undefined;

  /** @param id names the keys in Redis (`b_<id>_…`), so it carries the hash tag. */
  constructor(connection: BucketConnection, id: string, settings: BucketSettings, logger?: Logger) {
    this.#connection = connection;
    this.#id = id;
    this.#settings = settings;
    this.#quantum = settings.quantum;
    this.#logger = logger;
  }

  /**
   * Waits until the fleet's bucket holds a quantum and takes it. At most one purchase at a time.
   * @returns the units bought
   * @throws when Redis refuses, or the bucket was retuned or closed meanwhile: buy again
   */
  async buy(): Promise<number> {
    this.#isBuying = true;
    try {
      const limiter = await this.#open();
      const quantum = this.#quantum;
      await this.#purchase(limiter, quantum);
      this.#isFaultReported = false;
      return quantum;
    } catch (error) {
      this.#reportFault(error);
      throw error;
    } finally {
      this.#isBuying = false;
      this.#retireLater();
    }
  }

  async #purchase(limiter: Bottleneck, quantum: number): Promise<void> {
    const reviver = setInterval(() => {
      if (this.#limiter === limiter) void this.#revive(limiter, quantum);
      else clearInterval(reviver);
    }, REVIVE_MS).unref();
    try {
      await new Promise<void>((resolve, reject) => {
        // Resolved from inside the job: the units count from here, without the round trip that ends the job.
        const noop = async () => resolve();
        limiter.schedule({ weight: quantum, expiration: PURCHASE_EXPIRATION_MS }, noop).catch(reject);
      });
    } catch (error) {
      this.#drop(limiter);
      throw error;
    } finally {
      clearInterval(reviver);
    }
  }

  /** Returns units nobody uses (or, negative, takes what was overspent); what does not fit is discarded. */
  async giveBack(units: number): Promise<void> {
    const limiter = await this.#open();
    const reservoir = await limiter.incrementReservoir(units);
    const overflow = Math.min(units, reservoir - this.#settings.maximum);
    if (overflow > 0) await limiter.incrementReservoir(-overflow);
    this.#retireLater();
  }

  /** Lowers the level to what it is `ms` before the bucket holds its first unit: nobody can buy until then. */
  async drain(ms: number): Promise<void> {
    const { ratePerSecond, isPaced } = this.#settings;
    if (isPaced) return;
    const limiter = await this.#open();
    const level = -Math.round((ratePerSecond * ms) / 1000);
    if ((await limiter.currentReservoir())! > level) await limiter.updateSettings({ reservoir: level });
  }

  /** Changes the limit for the whole fleet; a purchase that waits is thrown back. */
  retune(settings: BucketSettings): void {
    this.#settings = settings;
    this.#dropWhenOpen();
  }

  async close(): Promise<void> {
    clearTimeout(this.#retireTimer);
    this.#isFaultReported = true;
    if (this.#limiter) this.#drop(this.#limiter);
    await this.#releasing;
  }

  #open(): Promise<Bottleneck> {
    this.#opening ??= this.#releasing.then(() => this.#create());
    return this.#opening;
  }

  async #create(): Promise<Bottleneck> {
    const settings = this.#settings;
    const limiter = new Bottleneck({
      id: this.#id,
      // Without the class, Bottleneck evaluates a `require`, which ES modules do not have.
      Redis,
      connection: this.#connection.bottleneck,
      heartbeatInterval: HEARTBEAT_MS,
      clientTimeout: CLIENT_TIMEOUT_MS,
      ...settings.stored,
    });
    this.#limiter = limiter;
    limiter.on("error", (error) => this.#reportFault(error));
    try {
      await limiter.ready();
      if (this.#asserted !== settings) await assertSettings(this.#connection.client, limiter, settings);
      this.#asserted = settings;
      this.#quantum = Math.min(settings.quantum, await storedMaximum(this.#connection.client, limiter));
      return limiter;
    } catch (error) {
      this.#drop(limiter);
      throw error;
    }
  }

  /**
   * A waiting job hears nothing after Redis lost its keys, because heartbeats do not restore them; and a job
   * heavier than a maximum that another process lowered would wait for ever.
   */
  async #revive(limiter: Bottleneck, quantum: number): Promise<void> {
    try {
      await limiter.currentReservoir();
      if (quantum > (await storedMaximum(this.#connection.client, limiter))) this.#drop(limiter);
    } catch {
      // Redis is away; the next round asks again.
    }
  }

  /** The heartbeats of budgets that nobody uses would add up. */
  #retireLater(): void {
    clearTimeout(this.#retireTimer);
    const retire = () => {
      if (!this.#isBuying) this.#dropWhenOpen();
    };
    this.#retireTimer = setTimeout(retire, RETIRE_AFTER_MS).unref();
  }

  #dropWhenOpen(): void {
    this.#opening?.then(
      (limiter) => this.#drop(limiter),
      () => {},
    );
  }

  #drop(limiter: Bottleneck): void {
    if (this.#limiter !== limiter) return;
    this.#limiter = undefined;
    this.#opening = undefined;
    this.#releasing = this.#connection.release(limiter).catch(() => {});
  }

  #reportFault(error: unknown): void {
    if (this.#isFaultReported || error instanceof Bottleneck.BottleneckError) return;
    this.#isFaultReported = true;
    this.#logger?.warn(
      { bucket: this.#id, fault: (error as Error).message },
      "rate limits cannot be read from Redis; calls wait",
    );
  }
}
