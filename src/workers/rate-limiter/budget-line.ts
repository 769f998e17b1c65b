import type { Logger } from "../../shared/logger.ts";
import type { Budget } from "../../shared/settings.ts";
import type { BucketConnection } from "./bucket-connection.ts";
import { bucketSettings } from "./bucket-settings.ts";
import { Purse } from "./purse.ts";
import { SharedBucket } from "./shared-bucket.ts";
import { type Waiter, WaitingLine } from "./waiting-line.ts";

const RETRY_MS = 250;

/** What a request costs of each limit. */
export type Cost = Record<LimitName, number>;
/** Tokens are collected first: a paced request unit is good for its moment only. */
const LIMIT_NAMES = ["tokens", "requests"] as const;
type LimitName = (typeof LIMIT_NAMES)[number];

export function costOf(tokens: number): Cost {
  return { tokens, requests: 1 };
}

export interface BudgetLineOptions {
  connection: BucketConnection;
  /** Head of the buckets' Bottleneck ids. */
  id: string;
  logger?: Logger | undefined;
}

/**
 * The requests of this process that wait for one budget, and the purses that pay for them. Only the head of
 * the line buys, so a large request is never overtaken within its priority.
 */
export class BudgetLine {
  readonly #options: BudgetLineOptions;
  readonly #line = new WaitingLine();
  readonly #purses = new Map<LimitName, Purse>();
  #budget: Budget = {};
  #isClosed = false;

  constructor(options: BudgetLineOptions) {
    this.#options = options;
  }

  /** Takes over a budget; one that changed is changed for the whole fleet. */
  setBudget(budget: Budget): void {
    const { rpm, tpm, burstSeconds } = budget;
    const old = this.#budget;
    const isOtherBurst = burstSeconds !== old.burstSeconds;
    if (rpm === old.rpm && tpm === old.tpm && !isOtherBurst) return;
    this.#budget = { rpm, tpm, burstSeconds };
    if (rpm !== old.rpm || isOtherBurst) this.#setLimit("requests", rpm);
    if (tpm !== old.tpm || isOtherBurst) this.#setLimit("tokens", tpm);
    this.#pump();
  }

  enqueue(waiter: Waiter): void {
    this.#line.add(waiter);
    this.#pump();
  }

  /** Takes a request out of the line; what was bought for it pays for the next. */
  leave(waiter: Waiter): boolean {
    const left = this.#line.remove(waiter);
    if (left) this.#pump();
    return left;
  }

  refund(units: Cost): void {
    for (const [name, purse] of this.#purses) if (units[name] !== 0) purse.refund(units[name]);
    this.#pump();
  }

  predictedWaitMs(tokens: number): number {
    const ahead: Cost = { tokens: this.#line.tokens, requests: this.#line.length };
    const cost = costOf(tokens);
    const waits = [...this.#purses].map(([name, purse]) => purse.predictedWaitMs(ahead[name] + cost[name]));
    return Math.max(0, ...waits);
  }

  /** Rejects all who wait, then returns the purses to the fleet. */
  async close(error: Error): Promise<void> {
    this.#isClosed = true;
    for (let head = this.#line.head; head; head = this.#line.head) {
      this.#line.remove(head);
      head.reject(error);
    }
    await Promise.all([...this.#purses.values()].map((purse) => purse.close()));
  }

  #setLimit(name: LimitName, perMinute: number | undefined): void {
    const purse = this.#purses.get(name);
    if (perMinute === undefined) {
      this.#purses.delete(name);
      purse?.close().catch(() => {});
      return;
    }
    const settings = bucketSettings(perMinute, this.#budget.burstSeconds);
    if (purse) {
      purse.retune(settings);
      return;
    }
    const { connection, id, logger } = this.#options;
    const bucket = new SharedBucket(connection, `${id}:${name}`, settings, logger);
    const unitsNeeded = () => (this.#line.head ? costOf(this.#line.head.tokens)[name] : 0);
    this.#purses.set(name, new Purse(bucket, settings, unitsNeeded));
  }

  #pump(): void {
    while (!this.#isClosed && this.#line.head) {
      const head = this.#line.head;
      const cost = costOf(head.tokens);
      const short = this.#firstShort(cost);
      if (short) {
        this.#buy(short);
        break;
      }
      for (const [name, purse] of this.#purses) purse.spend(cost[name]);
      this.#line.remove(head);
      head.grant();
    }
  }

  #firstShort(cost: Cost): Purse | undefined {
    const name = LIMIT_NAMES.find((limit) => this.#purses.get(limit)?.covers(cost[limit]) === false);
    return name && this.#purses.get(name);
  }

  #buy(purse: Purse): void {
    purse.buy().then(
      (bought) => {
        if (bought) this.#pump();
      },
      () => setTimeout(() => this.#pump(), RETRY_MS),
    );
  }
}
