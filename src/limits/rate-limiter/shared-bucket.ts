import type { Logger } from "../../shared/logger.ts";
import type { BucketConnection } from "./bottleneck.ts";
import type { BucketSettings } from "./bucket-settings.ts";
import { FleetBucket, isReleased } from "./fleet-bucket.ts";

const RETIRE_AFTER_MS = 30_000;

/** This process's access to the fleet's bucket of one limit, which is open only while it is used. */
export class SharedBucket {
  readonly #connection: BucketConnection;
  readonly #id: string;
  readonly #logger: Logger | undefined;
  #settings: BucketSettings;
  #asserted: BucketSettings | undefined;
  #opening: Promise<FleetBucket> | undefined;
  #bucket: FleetBucket | undefined;
  #releasing: Promise<void> = Promise.resolve();
  #isBuying = false;
  #isFaultReported = false;
  #retireTimer: NodeJS.Timeout | undefined;

  /** @param id head of the keys in Redis, so it carries the hash tag */
  constructor(connection: BucketConnection, id: string, settings: BucketSettings, logger?: Logger) {
    this.#connection = connection;
    this.#id = id;
    this.#settings = settings;
    this.#logger = logger;
  }

  /**
   * Waits until the fleet's bucket holds a quantum and takes it. At most one purchase at a time.
   * @param dueMs about how long a quantum takes to come
   * @returns the units bought
   * @throws when Redis refuses, or the bucket was retuned or closed meanwhile: buy again
   */
  async buy(dueMs: number): Promise<number> {
    this.#isBuying = true;
    let bucket: FleetBucket | undefined;
    try {
      bucket = await this.#open();
      const units = await bucket.buy(dueMs);
      this.#isFaultReported = false;
      return units;
    } catch (error) {
      if (bucket) this.#drop(bucket);
      this.#reportFault(error);
      throw error;
    } finally {
      this.#isBuying = false;
      this.#retireLater();
    }
  }

  /** Takes units that have not come yet, as far as the headroom bears it; returns whether it did. */
  async borrow(units: number): Promise<boolean> {
    const maxDebt = Math.floor(this.#settings.headroom / 2);
    if (units > maxDebt) return false;
    const bucket = await this.#open();
    const isLent = await bucket.borrow(units, maxDebt);
    this.#retireLater();
    return isLent;
  }

  /** Returns units nobody uses (or, negative, takes what was overspent); what does not fit is discarded. */
  async giveBack(units: number): Promise<void> {
    const bucket = await this.#open();
    await bucket.add(units);
    this.#retireLater();
  }

  /** Lowers the level to what it is `ms` before the bucket holds its first unit: nobody can buy until then. */
  async drain(ms: number): Promise<void> {
    const { ratePerSecond, isPaced } = this.#settings;
    if (isPaced) return;
    const bucket = await this.#open();
    await bucket.lowerTo(-Math.round((ratePerSecond * ms) / 1000));
  }

  /** Changes the limit for the whole fleet; a purchase that waits is thrown back. */
  retune(settings: BucketSettings): void {
    this.#settings = settings;
    this.#dropWhenOpen();
  }

  async close(): Promise<void> {
    clearTimeout(this.#retireTimer);
    this.#isFaultReported = true;
    if (this.#bucket) this.#drop(this.#bucket);
    await this.#releasing;
  }

  #open(): Promise<FleetBucket> {
    this.#opening ??= this.#releasing.then(() => this.#create());
    return this.#opening;
  }

  async #create(): Promise<FleetBucket> {
    const settings = this.#settings;
    const bucket = new FleetBucket(this.#connection, this.#id, settings);
    this.#bucket = bucket;
    try {
      await bucket.open(this.#asserted !== settings, (error) => this.#reportFault(error));
      this.#asserted = settings;
      return bucket;
    } catch (error) {
      this.#drop(bucket);
      throw error;
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
      (bucket) => this.#drop(bucket),
      () => {},
    );
  }

  #drop(bucket: FleetBucket): void {
    if (this.#bucket !== bucket) return;
    this.#bucket = undefined;
    this.#opening = undefined;
    this.#releasing = bucket.release();
  }

  #reportFault(error: unknown): void {
    if (this.#isFaultReported || isReleased(error)) return;
    this.#isFaultReported = true;
    this.#logger?.warn(
      { bucket: this.#id, fault: (error as Error).message },
      "rate limits cannot be read from Redis; calls wait",
    );
  }
}
