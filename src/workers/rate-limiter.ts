import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Logger } from "../shared/logger.ts";
import type { Budget } from "../shared/settings.ts";
import { BucketConnection } from "./rate-limiter/bucket-connection.ts";
import { BudgetLine, costOf } from "./rate-limiter/budget-line.ts";
import { BudgetExceededError, RateLimiterClosedError } from "./rate-limiter/errors.ts";
import type { Waiter } from "./rate-limiter/waiting-line.ts";

const DEFAULT_PRIORITY = 10;
const CLOSE_MS = 2000;

export interface RateLimiterOptions {
  /** Duplicated for the two connections of the limiter, at the first `acquire` that has a budget. */
  redis: Redis;
  /** Hash-tagged head of all keys: `{gluellm:default}`. */
  keyPrefix: string;
  /** Asked at every `acquire`: a budget that changed is changed for the whole fleet. */
  budgetOf: (key: string) => Budget | undefined;
  logger?: Logger;
}

export interface AcquireOptions {
  /** Estimate of what the request will be charged, input and output together. */
  tokens: number;
  /** 0 = interactive, larger = later; default 10. */
  priority?: number;
  /** Leaves the line; `acquire` rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** Leave to send one request. The first of `settle` and `cancel` counts; without either the estimate stands. */
export interface Reservation {
  waitedMs: number;
  /** Corrects the estimate to what the provider charged. */
  settle(actualTokens: number): void;
  /** Nothing was sent: gives back request and tokens. */
  cancel(): void;
}

/**
 * Keeps a fleet of processes under the requests and tokens per minute of each budget key, over Bottleneck.
 *
 * Every process buys quanta of equal size (50 ms of rate) from a token bucket in Redis into a purse of its
 * own, and the head of its line spends from the purse. A bucket holds 0.7 s of rate for a provider's bucket of
 * 1 s (`burstSeconds`, default 1), so bursts after a pause stay within what the provider accepts. Limits
 * too small for that (under about 86 per minute with `burstSeconds` 1) are granted at even spacing.
 *
 * Keys: `b_<keyPrefix>:limit:<key>:<requests|tokens>` + `_settings` (hash), `_job_weights` (hash),
 * `_job_expirations` (zset), `_job_clients` (hash), `_client_running` (zset), `_client_num_queued` (hash),
 * `_client_last_registered` (zset), `_client_last_seen` (zset), none of which expires; and the strings
 * `<keyPrefix>:limit:<key>:<requests|tokens>:guard:…` (1 s). Pub/sub: `b_<id>` and `b_<id>_<client>`.
 *
 * The bucket is refilled by the clocks of the processes, not of Redis: keep them synchronised (NTP). A clock
 * 2 s ahead doubles the rate for a second.
 */
export class RateLimiter implements AsyncDisposable {
  readonly #options: RateLimiterOptions;
  readonly #lines = new Map<string, BudgetLine>();
  #connection: BucketConnection | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RateLimiterOptions) {
    this.#options = options;
  }

  /**
   * Waits for a request and its tokens. Without a budget it resolves at once and Redis is not asked. While
   * Redis is away it waits.
   *
   * @param key `entry:model`, which names the budget
   * @throws BudgetExceededError at once, when `tokens` is more than a minute's limit
   * @throws RateLimiterClosedError
   * @throws the reason of `signal`
   */
  async acquire(key: string, options: AcquireOptions): Promise<Reservation> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw new RateLimiterClosedError();
    const tokens = Math.max(0, Math.ceil(options.tokens) || 0);
    const budget = this.#options.budgetOf(key);
    if (budget?.tpm !== undefined && tokens > budget.tpm) {
      throw new BudgetExceededError(key, tokens, budget.tpm);
    }
    const line = this.#lineOf(key, budget);
    if (!line) return { waitedMs: 0, settle() {}, cancel() {} };
    const startedAtMs = performance.now();
    await waitIn(line, tokens, options);
    return reservation(line, tokens, performance.now() - startedAtMs);
  }

  /**
   * About how long an `acquire` of batch priority would wait now, in milliseconds: 0 without a budget. A
   * guess from this process's recent purchases, without asking Redis.
   */
  predictedWaitMs(key: string, tokens: number): number {
    return this.#lines.get(key)?.predictedWaitMs(tokens) ?? 0;
  }

  /** Rejects all who wait, returns unspent units to the fleet and disconnects: in 2 s at most. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #lineOf(key: string, budget: Budget = {}): BudgetLine | undefined {
    const isLimited = budget.rpm !== undefined || budget.tpm !== undefined;
    let line = this.#lines.get(key);
    if (!line && isLimited) {
      const { redis, keyPrefix, logger } = this.#options;
      this.#connection ??= new BucketConnection(redis);
      line = new BudgetLine({ connection: this.#connection, id: `${keyPrefix}:limit:${key}`, logger });
      this.#lines.set(key, line);
    }
    line?.setBudget(budget);
    return isLimited ? line : undefined;
  }

  async #close(): Promise<void> {
    const lines = [...this.#lines.values()];
    const timer = new AbortController();
    const deadline = delay(CLOSE_MS, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([
      Promise.all(lines.map((line) => line.close(new RateLimiterClosedError()))),
      deadline,
    ]);
    timer.abort();
    await this.#connection?.close();
  }
}

function waitIn(line: BudgetLine, tokens: number, { priority, signal }: AcquireOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      if (line.leave(waiter)) reject(signal?.reason);
    };
    const leaveWith = (finish: () => void) => {
      signal?.removeEventListener("abort", abort);
      finish();
    };
    const waiter: Waiter = {
      tokens,
      priority: priority ?? DEFAULT_PRIORITY,
      grant: () => leaveWith(resolve),
      reject: (error) => leaveWith(() => reject(error)),
    };
    signal?.addEventListener("abort", abort, { once: true });
    line.enqueue(waiter);
  });
}

function reservation(line: BudgetLine, tokens: number, waitedMs: number): Reservation {
  let isOpen = true;
  const refund = (units: { tokens: number; requests: number }) => {
    if (isOpen) line.refund(units);
    isOpen = false;
  };
  return {
    waitedMs,
    settle: (actualTokens) => {
      const actual = Number.isFinite(actualTokens) ? Math.max(0, Math.ceil(actualTokens)) : tokens;
      refund({ tokens: tokens - actual, requests: 0 });
    },
    cancel: () => refund(costOf(tokens)),
  };
}
