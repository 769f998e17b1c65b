import type { Budget } from "../../shared/limits-setting.ts";
import type { Logger } from "../../shared/logger.ts";
import { BudgetWaitError } from "../../shared/unsent-errors.ts";
import { storeUnder } from "../../store/store.ts";
import { Allotment } from "./allotment.ts";
import type { BucketConnection } from "./bottleneck.ts";
import { bucketSettings } from "./bucket-settings.ts";
import { type Cost, LIMIT_NAMES, type LimitName } from "./cost.ts";
import { InFlightSlots } from "./in-flight.ts";
import { PriorityQueue, type Waiter } from "./priority-queue.ts";
import { SharedBucket } from "./shared-bucket.ts";

const RETRY_MS = 250;
/** A request counts as one. */
const LEAST_QUANTA: { [name in LimitName]?: number } = { requests: 1 };
const LIMIT_SETTINGS = { inputTokens: "itpm", outputTokens: "otpm", tokens: "tpm", requests: "rpm" } as const;

export interface WaitQueueOptions {
  connection: BucketConnection;
  /** The budget's id: its bucket, else its key. */
  name: string;
  /** Head of all keys in Redis, with the hash tag. */
  keyPrefix: string;
  /** How many ms of the rate are bought at once; default 50. */
  quantumMs?: number | undefined;
  logger?: Logger | undefined;
}

/** What a granted request holds. */
export interface Grant {
  /** Its place among the calls in flight, where those are limited. */
  slot: string | undefined;
  /** What it was paid from: a limit that was learned since then was not paid. */
  allotments: ReadonlySet<Allotment>;
  /** How many pauses there had been: what a call before a pause gives back is part of what the provider then said. */
  pauses: number;
}

/**
 * The requests of this process that wait for one budget, and the allotments that pay for them. Only the head of
 * the queue buys, so a large request is never overtaken within its priority.
 */
export class WaitQueue {
  readonly #options: WaitQueueOptions;
  readonly #queue = new PriorityQueue();
  readonly #allotments = new Map<LimitName, Allotment>();
  #slots: InFlightSlots | undefined;
  #budget: Budget = {};
  #pauses = 0;
  #pausedUntilMs = 0;
  #isClosed = false;

  constructor(options: WaitQueueOptions) {
    this.#options = options;
  }

  /** How many requests wait. */
  get waiting(): number {
    return this.#queue.length;
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

  /**
   * Adds a request and returns its place, for `leave`.
   * @throws BudgetWaitError when those ahead take longer than the request would wait
   */
  enqueue(waiter: Omit<Waiter, "grant"> & { grant: (grant: Grant) => void }): Waiter {
    const isPatient = waiter.maxWaitMs === Number.POSITIVE_INFINITY;
    const waitMs = isPatient ? 0 : this.#waitMs(this.#queue.ahead(waiter.priority));
    if (waitMs > waiter.maxWaitMs) throw new BudgetWaitError(this.#options.name, waitMs);
    const entry: Waiter = {
      ...waiter,
      grant: () => {
        const allotments = new Set(this.#allotments.values());
        waiter.grant({ slot: this.#slots?.use(), allotments, pauses: this.#pauses });
      },
    };
    this.#queue.add(entry);
    this.#pump();
    return entry;
  }

  /** Takes a request out, and returns whether it was still there; what was bought for it pays for the next. */
  leave(waiter: Waiter): boolean {
    const left = this.#queue.remove(waiter);
    if (left) this.#pump();
    return left;
  }

  /** Ends a granted request; `units` are given back of what it was charged. */
  end({ slot, allotments, pauses }: Grant, units: Cost): void {
    if (slot) this.#slots?.release(slot);
    for (const [name, allotment] of this.#allotments) {
      // An answer that ended after a pause may be counted by the provider after it too.
      const counts = pauses === this.#pauses || units[name] < 0;
      if (counts && allotments.has(allotment) && units[name] !== 0) allotment.refund(units[name]);
    }
    this.#pump();
  }

  /** Grants nothing for `ms`, and voids what was bought; those who would not wait so long leave. 0 ends a pause. */
  pause(ms: number): void {
    this.#pauses += 1;
    this.#pausedUntilMs = ms === 0 ? 0 : Math.max(this.#pausedUntilMs, performance.now() + ms);
    for (const allotment of this.#allotments.values()) allotment.empty(ms);
    for (const waiter of this.#queue.all) {
      if (waiter.maxWaitMs < ms && this.#queue.remove(waiter))
        waiter.reject(new BudgetWaitError(this.#options.name, ms));
    }
    // A timer may come a moment early.
    setTimeout(() => this.#pump(), ms + 1).unref();
  }

  /** Empties the fleet's buckets, so that nobody can buy for `ms`. */
  async drain(ms: number): Promise<void> {
    await Promise.all([...this.#allotments.values()].map((allotment) => allotment.drain(ms)));
  }

  /** Returns about how long a request of this cost and priority would wait now, in milliseconds. */
  predictedWaitMs(cost: Cost, priority: number): number {
    const units = this.#queue.ahead(priority);
    for (const name of LIMIT_NAMES) units[name] += cost[name];
    return this.#waitMs(units);
  }

  /** Rejects all who wait, then returns the allotments to the fleet. */
  async close(error: Error): Promise<void> {
    this.#isClosed = true;
    for (const waiter of this.#queue.all) {
      this.#queue.remove(waiter);
      waiter.reject(error);
    }
    await Promise.all([...this.#allotments.values(), this.#slots].map((part) => part?.close()));
  }

  /** Returns in about how many milliseconds so many units can be had, pauses included. */
  #waitMs(units: Cost): number {
    const waits = [...this.#allotments].map(([name, allotment]) => allotment.predictedWaitMs(units[name]));
    return Math.max(0, this.#pausedUntilMs - performance.now(), ...waits);
  }

  #setSlots(maximum: number | undefined): void {
    if (maximum === undefined) {
      this.#slots?.close().catch(() => {});
      this.#slots = undefined;
    } else if (this.#slots) this.#slots.maximum = maximum;
    else {
      const { connection, keyPrefix, name } = this.#options;
      this.#slots = new InFlightSlots(storeUnder(connection.client, keyPrefix), name, maximum);
    }
  }

  #setLimit(name: LimitName, perMinute: number | undefined): void {
    const allotment = this.#allotments.get(name);
    if (perMinute === undefined) {
      this.#allotments.delete(name);
      allotment?.close().catch(() => {});
      return;
    }
    const { connection, keyPrefix, quantumMs, logger } = this.#options;
    const settings = bucketSettings(perMinute, this.#budget.burstSeconds, quantumMs, LEAST_QUANTA[name]);
    if (allotment) {
      allotment.retune(settings);
      return;
    }
    const id = `${keyPrefix}:limit:${this.#options.name}:${name}`;
    const bucket = new SharedBucket(connection, id, settings, logger);
    const unitsNeeded = () => this.#queue.head?.cost[name] ?? 0;
    this.#allotments.set(name, new Allotment(bucket, settings, unitsNeeded));
  }

  #pump(): void {
    while (!this.#isClosed && this.#queue.head && performance.now() >= this.#pausedUntilMs) {
      const { head } = this.#queue;
      const missing = this.#firstMissing(head);
      if (missing) {
        this.#await(missing);
        break;
      }
      for (const [name, allotment] of this.#allotments) allotment.spend(head.cost[name]);
      this.#queue.remove(head);
      head.grant();
    }
    // The request that the free slot was taken for has left.
    if (!this.#queue.head || performance.now() < this.#pausedUntilMs) this.#slots?.releaseFree();
  }

  /** Returns what gets that which the head lacks first; undefined when it lacks nothing. */
  #firstMissing(head: Waiter): (() => Promise<boolean>) | undefined {
    for (const name of LIMIT_NAMES) {
      const allotment = this.#allotments.get(name);
      const units = head.cost[name];
      if (allotment?.covers(units) !== false) continue;
      // All processes of the fleet buy in turns; one call beside a batch need not wait for this one's.
      return this.#queue.isHeadAloneUrgent ? () => allotment.borrow(units, head) : () => allotment.buy();
    }
    const slots = this.#slots;
    return slots && !slots.isFree ? () => slots.take() : undefined;
  }

  /** Looks again once `get` has got something. Where another one is at it already, the end of that one looks again. */
  #await(get: () => Promise<boolean>): void {
    get().then(
      (isNew) => {
        if (isNew) this.#pump();
      },
      () => setTimeout(() => this.#pump(), RETRY_MS),
    );
  }
}
