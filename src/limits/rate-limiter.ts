import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Budget } from "../shared/limits-setting.ts";
import type { Logger } from "../shared/logger.ts";
import { type TokenCounts, tokenCounts } from "../shared/token-counts.ts";
import { BudgetExceededError, RateLimiterClosedError } from "../shared/unsent-errors.ts";
import { BucketConnection } from "./rate-limiter/bucket-connection.ts";
import { BudgetLine, type Grant } from "./rate-limiter/budget-line.ts";
import { type Cost, costOf } from "./rate-limiter/cost.ts";
import { EstimateCorrection } from "./rate-limiter/estimate-correction.ts";
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
  /** How much of the rate a process buys at once, default 50: less uses the limit better, and Redis more. */
  quantumMs?: number;
  logger?: Logger;
}

export interface AcquireOptions {
  /** Estimate of what the request will be charged; a plain number counts as input. Default 0. */
  tokens?: TokenCounts | number;
  /** 0 = interactive, larger = later; default 10. */
  priority?: number;
  /** Rejects with BudgetWaitError when those ahead take longer than this; default: waits for ever. */
  maxWaitMs?: number;
  /** Leaves the line; `acquire` rejects with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Leave to send one request. The first of `settle` and `cancel` counts. One of them must be called where the budget
 * has `maxInFlight`, as it ends the request; elsewhere the estimate stands without them.
 */
export interface Reservation {
  waitedMs: number;
  /** Corrects the estimate to what the provider charged; without an argument the estimate stands. */
  settle(actualTokens?: TokenCounts | number): void;
  /** Nothing was sent: gives back request and tokens. */
  cancel(): void;
}

/**
 * Keeps a fleet of processes under the limits of each budget (requests and tokens per minute over Bottleneck, calls in
 * flight by leases). Keys whose budgets name the same `bucket` share one.
 *
 * Every process buys quanta of equal size from a token bucket in Redis into a purse of its
 * own, and the head of its line spends from the purse. A bucket holds 0.7 s of rate for a provider's bucket of
 * 1 s (`burstSeconds`, default 1), so bursts after a pause stay within what the provider accepts. Limits
 * too small for that (under about 86 per minute with `burstSeconds` 1) are granted at even spacing.
 *
 * Keys: `b_<keyPrefix>:limit:<key or bucket>:<requests|tokens|inputTokens|outputTokens>` + `_settings` (hash), `_job_weights` (hash),
 * `_job_expirations` (zset), `_job_clients` (hash), `_client_running` (zset), `_client_num_queued` (hash),
 * `_client_last_registered` (zset), `_client_last_seen` (zset), none of which expires; the strings
 * `<keyPrefix>:limit:<…>:guard:…` (1 s); the zset `<keyPrefix>:limit:<…>:in-flight` (15 s). Pub/sub: `b_<id>` and `b_<id>_<client>`.
 *
 * The bucket is refilled by the clocks of the processes, not of Redis: keep them synchronised (NTP). A clock
 * 2 s ahead doubles the rate for a second.
 */
export class RateLimiter implements AsyncDisposable {
  readonly #options: RateLimiterOptions;
  readonly #lines = new Map<string, BudgetLine>();
  readonly #correction = new EstimateCorrection();
  #connection: BucketConnection | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RateLimiterOptions) {
    this.#options = options;
  }

  /**
   * Waits for a request and its tokens. Without a budget it resolves at once and Redis is not asked. While
   * Redis is away it waits.
   *
   * @param key `entry:model`, or what else `budgetOf` knows
   * @throws BudgetExceededError at once, when the tokens are more than a minute's limit
   * @throws BudgetWaitError when it would wait longer than `maxWaitMs`, at once or when a pause begins
   * @throws RateLimiterClosedError
   * @throws the reason of `signal`
   */
  async acquire(key: string, options: AcquireOptions = {}): Promise<Reservation> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw new RateLimiterClosedError();
    const estimate = tokenCounts(options.tokens ?? 0);
    const budget = this.#options.budgetOf(key);
    if (budget) assertPossible(key, costOf(estimate), budget);
    const line = this.#lineOf(key, budget);
    if (!line) return { waitedMs: 0, settle() {}, cancel() {} };
    const cost = atMost(costOf(this.#correction.correct(key, estimate)), budget);
    const startedAtMs = performance.now();
    const grant = await waitIn(line, cost, options);
    const settled = (actual: TokenCounts) => this.#correction.settled(key, estimate, actual);
    return reservation({ line, grant, cost, settled }, performance.now() - startedAtMs);
  }

  /** The key's budget changed: those who wait under the old one wait under the new one. */
  refresh(key: string): void {
    this.#lineOf(key, this.#options.budgetOf(key));
  }

  /**
   * The provider said that nothing will be accepted for `ms`: this process grants nothing until then, and what it
   * has bought is void, since the provider holds less than was counted.
   *
   * @param id the budget's `bucket`, else the key
   */
  pause(id: string, ms: number): void {
    this.#lines.get(id)?.pause(ms);
  }

  /** Empties the fleet's buckets so that they hold their first unit after `ms`. Every process pauses for itself. */
  async drain(id: string, ms: number): Promise<void> {
    await this.#lines.get(id)?.drain(ms);
  }

  /**
   * About how long an `acquire` would wait now, in milliseconds: 0 without a budget. A guess from this process's
   * recent purchases, without asking Redis.
   */
  predictedWaitMs(key: string, { tokens = 0, priority = DEFAULT_PRIORITY }: AcquireOptions = {}): number {
    const line = this.#lines.get(this.#nameOf(key, this.#options.budgetOf(key)));
    return line?.predictedWaitMs(costOf(tokens), priority) ?? 0;
  }

  /** Rejects all who wait, returns unspent units to the fleet and disconnects: in 2 s at most. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #nameOf(key: string, budget: Budget | undefined): string {
    return budget?.bucket ?? key;
  }

  /** Undefined without a limit. */
  #lineOf(key: string, budget: Budget | undefined): BudgetLine | undefined {
    const { bucket: _, burstSeconds: __, ...limits } = budget ?? {};
    const isLimited = Object.values(limits).some((limit) => limit !== undefined);
    const name = this.#nameOf(key, budget);
    let line = this.#lines.get(name);
    if (!line && isLimited) {
      const { redis, keyPrefix, quantumMs, logger } = this.#options;
      this.#connection ??= new BucketConnection(redis);
      const id = `${keyPrefix}:limit:${name}`;
      line = new BudgetLine({ connection: this.#connection, name, id, quantumMs, logger });
      this.#lines.set(name, line);
    }
    line?.setBudget(budget ?? {});
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

function assertPossible(key: string, cost: Cost, { tpm, itpm, otpm }: Budget): void {
  if (tpm !== undefined && cost.tokens > tpm) throw new BudgetExceededError(key, cost.tokens, tpm);
  if (itpm !== undefined && cost.inputTokens > itpm)
    throw new BudgetExceededError(key, cost.inputTokens, itpm, "input tokens");
  if (otpm !== undefined && cost.outputTokens > otpm)
    throw new BudgetExceededError(key, cost.outputTokens, otpm, "output tokens");
}

/** Nothing larger than a minute of its limit can be had, however much more it may turn out to be. */
function atMost(cost: Cost, { tpm, itpm, otpm }: Budget = {}): Cost {
  const bounded = (units: number, limit = Number.POSITIVE_INFINITY) => Math.min(units, Math.floor(limit));
  return {
    ...cost,
    tokens: bounded(cost.tokens, tpm),
    inputTokens: bounded(cost.inputTokens, itpm),
    outputTokens: bounded(cost.outputTokens, otpm),
  };
}

function waitIn(line: BudgetLine, cost: Cost, options: AcquireOptions): Promise<Grant> {
  const { priority = DEFAULT_PRIORITY, maxWaitMs = Number.POSITIVE_INFINITY, signal } = options;
  return new Promise((resolve, reject) => {
    let waiter: Waiter | undefined;
    const abort = () => {
      if (waiter && line.leave(waiter)) reject(signal?.reason);
    };
    const leaveWith = (finish: () => void) => {
      signal?.removeEventListener("abort", abort);
      finish();
    };
    signal?.addEventListener("abort", abort, { once: true });
    const leaveWithFault = (error: unknown) => leaveWith(() => reject(error));
    try {
      const grant = (granted: Grant) => leaveWith(() => resolve(granted));
      waiter = line.enqueue({ cost, priority, maxWaitMs, grant, reject: leaveWithFault });
    } catch (error) {
      leaveWithFault(error);
    }
  });
}

interface Granted {
  line: BudgetLine;
  grant: Grant;
  cost: Cost;
  /** Told what the request really took, when it took anything. */
  settled: (actual: TokenCounts) => void;
}

function reservation({ line, grant, cost, settled }: Granted, waitedMs: number): Reservation {
  let isOpen = true;
  const end = (refund: Cost) => {
    if (isOpen) line.end(grant, refund);
    isOpen = false;
  };
  return {
    waitedMs,
    settle: (actualTokens) => {
      const actual = actualTokens === undefined ? cost : costOf(actualTokens);
      if (isOpen && actual !== cost && actual.tokens > 0) {
        settled({ input: actual.inputTokens, output: actual.outputTokens });
      }
      end({
        inputTokens: cost.inputTokens - actual.inputTokens,
        outputTokens: cost.outputTokens - actual.outputTokens,
        tokens: cost.tokens - actual.tokens,
        requests: 0,
      });
    },
    cancel: () => end(cost),
  };
}
