import type { Budget } from "../../shared/limits-setting.ts";
import type { Logger } from "../../shared/logger.ts";
import { BudgetWaitError } from "../../shared/unsent-errors.ts";
import type { BucketConnection } from "./bucket-connection.ts";
import { bucketSettings } from "./bucket-settings.ts";
import { type Cost, LIMIT_NAMES, type LimitName } from "./cost.ts";
import { InFlightSlots } from "./in-flight.ts";
import { Purse } from "./purse.ts";
import { SharedBucket } from "./shared-bucket.ts";
import { type Waiter, WaitingLine } from "./waiting-line.ts";

const RETRY_MS = 250;
const LIMIT_SETTINGS = { inputTokens: "itpm", outputTokens: "otpm", tokens: "tpm", requests: "rpm" } as const;

export interface BudgetLineOptions {
  connection: BucketConnection;
  /** Names the budget for people. */
  name: string;
  /** Head of the keys in Redis, so it carries the hash tag. */
  id: string;
  /** Of the rate, bought at once; default 50. */
  quantumMs?: number | undefined;
  logger?: Logger | undefined;
}

/** What a granted request holds. */
export interface Grant {
  slot: string | undefined;
  /** A limit that was learned since then was not paid. */
  purses: ReadonlySet<Purse>;
  /** Pauses so far: what a call before a pause cost is part of what the provider then said. */
  pauses: number;
}

/**
 * The requests of this process that wait for one budget, and the purses that pay for them. Only the head of
 * the line buys, so a large request is never overtaken within its priority.
 */
export class BudgetLine {
  readonly #options: BudgetLineOptions;
  readonly #line = new WaitingLine();
  readonly #purses = new Map<LimitName, Purse>();
  #slots: InFlightSlots | undefined;
  #budget: Budget = {};
  #pauses = 0;
  #pausedUntilMs = 0;
  #isClosed = false;

  constructor(options: BudgetLineOptions) {
    this.#options = options;
  }

  /** Takes over a budget; one that changed is changed for the whole fleet. */
  setBudget(budget: Budget): void {
    const old = this.#budget;
    if (budget === old) return;
    this.#budget = budget;
    const isOtherBurst = budget.burstSeconds !== old.burstSeconds;
    let isChanged = budget.maxInFlight !== old.maxInFlight;
    if (isChanged) this.#setSlots(budget.maxInFlight);
    for (const name of LIMIT_NAMES) {
      const perMinute = budget[LIMIT_SETTINGS[name]];
      const isOtherLimit = perMinute !== old[LIMIT_SETTINGS[name]];
      if (!isOtherLimit && (perMinute === undefined || !isOtherBurst)) continue;
      this.#setLimit(name, perMinute);
      isChanged = true;
    }
    if (isChanged) this.#pump();
  }

  /** @throws BudgetWaitError when those ahead take longer than the request would wait */
  enqueue(waiter: Omit<Waiter, "grant"> & { grant: (grant: Grant) => void }): Waiter {
    const isPatient = waiter.maxWaitMs === Number.POSITIVE_INFINITY;
    const waitMs = isPatient ? 0 : this.#waitMs(this.#line.ahead(waiter.priority));
    if (waitMs > waiter.maxWaitMs) throw new BudgetWaitError(this.#options.name, waitMs);
    const entry: Waiter = {
      ...waiter,
      grant: () => {
        const purses = new Set(this.#purses.values());
        waiter.grant({ slot: this.#slots?.use(), purses, pauses: this.#pauses });
      },
    };
    this.#line.add(entry);
    this.#pump();
    return entry;
  }

  /** Takes a request out of the line; what was bought for it pays for the next. */
  leave(waiter: Waiter): boolean {
    const left = this.#line.remove(waiter);
    if (left) this.#pump();
    return left;
  }

  /** A granted request ended; `units` corrects what it was charged. */
  end({ slot, purses, pauses }: Grant, units: Cost): void {
    if (slot) this.#slots?.release(slot);
    for (const [name, purse] of this.#purses) {
      if (pauses === this.#pauses && purses.has(purse) && units[name] !== 0) purse.refund(units[name]);
    }
    this.#pump();
  }

  /** Nothing is granted for `ms`, and what was bought is void; those who would not wait so long leave. */
  pause(ms: number): void {
    this.#pauses += 1;
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, performance.now() + ms);
    for (const purse of this.#purses.values()) purse.empty(ms);
    for (const waiter of this.#line.all) {
      if (waiter.maxWaitMs < ms && this.#line.remove(waiter))
        waiter.reject(new BudgetWaitError(this.#options.name, ms));
    }
    // A timer may come a moment early.
    setTimeout(() => this.#pump(), ms + 1).unref();
  }

  /** Nobody in the fleet can buy for `ms`, and the buckets are empty then. */
  async drain(ms: number): Promise<void> {
    await Promise.all([...this.#purses.values()].map((purse) => purse.drain(ms)));
  }

  /** About how long a request of this cost and priority would wait now, in milliseconds. */
  predictedWaitMs(cost: Cost, priority: number): number {
    const units = this.#line.ahead(priority);
    for (const name of LIMIT_NAMES) units[name] += cost[name];
    return this.#waitMs(units);
  }

  /** Rejects all who wait, then returns the purses to the fleet. */
  async close(error: Error): Promise<void> {
    this.#isClosed = true;
    for (const waiter of this.#line.all) {
      this.#line.remove(waiter);
      waiter.reject(error);
    }
    await Promise.all([...this.#purses.values(), this.#slots].map((part) => part?.close()));
  }

  /** About how long until so many units can be had, pauses included. */
  #waitMs(units: Cost): number {
    const waits = [...this.#purses].map(([name, purse]) => purse.predictedWaitMs(units[name]));
    return Math.max(0, this.#pausedUntilMs - performance.now(), ...waits);
  }

  #setSlots(maximum: number | undefined): void {
    if (maximum === undefined) {
      this.#slots?.close().catch(() => {});
      this.#slots = undefined;
    } else if (this.#slots) this.#slots.maximum = maximum;
    else {
      const { connection, id } = this.#options;
      this.#slots = new InFlightSlots(connection.client, `${id}:in-flight`, maximum);
    }
  }

  #setLimit(name: LimitName, perMinute: number | undefined): void {
    const purse = this.#purses.get(name);
    if (perMinute === undefined) {
      this.#purses.delete(name);
      purse?.close().catch(() => {});
      return;
    }
    const { connection, id, quantumMs, logger } = this.#options;
    const settings = bucketSettings(perMinute, this.#budget.burstSeconds, quantumMs);
    if (purse) {
      purse.retune(settings);
      return;
    }
    const bucket = new SharedBucket(connection, `${id}:${name}`, settings, logger);
    const unitsNeeded = () => this.#line.head?.cost[name] ?? 0;
    this.#purses.set(name, new Purse(bucket, settings, unitsNeeded));
  }

  #pump(): void {
    while (!this.#isClosed && this.#line.head && performance.now() >= this.#pausedUntilMs) {
      const { head } = this.#line;
      const missing = this.#firstMissing(head.cost);
      if (missing) {
        this.#await(missing);
        break;
      }
      for (const [name, purse] of this.#purses) purse.spend(head.cost[name]);
      this.#line.remove(head);
      head.grant();
    }
    // The one it was taken for has left.
    if (!this.#line.head || performance.now() < this.#pausedUntilMs) this.#slots?.releaseFree();
  }

  /** Starts to get what the head lacks first; undefined when it lacks nothing. */
  #firstMissing(cost: Cost): (() => Promise<boolean>) | undefined {
    for (const name of LIMIT_NAMES) {
      const purse = this.#purses.get(name);
      if (purse?.covers(cost[name]) === false) return () => purse.buy();
    }
    const slots = this.#slots;
    return slots && !slots.isFree ? () => slots.take() : undefined;
  }

  /** Another one may be at it already; then its end looks again. */
  #await(get: () => Promise<boolean>): void {
    get().then(
      (isNew) => {
        if (isNew) this.#pump();
      },
      () => setTimeout(() => this.#pump(), RETRY_MS),
    );
  }
}
