import type { Redis } from "ioredis";
import type { Budget } from "../shared/limits-setting.ts";
import type { Logger } from "../shared/logger.ts";
import { type TokenCounts, tokenCounts } from "../shared/token-counts.ts";
import { BudgetExceededError, RateLimiterClosedError } from "../shared/unsent-errors.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { BucketConnection } from "./rate-limiter/bottleneck.ts";
import { type Cost, costOf } from "./rate-limiter/cost.ts";
import { EstimateCorrection } from "./rate-limiter/estimate-correction.ts";
import type { Waiter } from "./rate-limiter/priority-queue.ts";
import { type Grant, WaitQueue } from "./rate-limiter/wait-queue.ts";

const DEFAULT_PRIORITY = 10;
const TOKEN_LIMITS = [
  ["tokens", "tpm", "tokens"],
  ["inputTokens", "itpm", "input tokens"],
  ["outputTokens", "otpm", "output tokens"],
] as const;

/** Options of a rate limiter. */
export interface RateLimiterOptions {
  /** The limiter makes its two connections after the model of this one, at the first `acquire` that has a budget. */
  redis: Redis;
  /**
   * A connection for subscriptions: the limiter uses it and `redis` themselves, and ends neither. Both have to wait for
   * Redis through any outage (`maxRetriesPerRequest: null`). Default: the limiter has connections of its own.
   */
  subscriber?: Redis;
  /** Head of all keys, with the hash tag: `{gluellm:default}`. */
  keyPrefix: string;
  /** Returns the budget of a key. It is asked at every `acquire`; a budget that changed is changed for the whole fleet. */
  budgetOf: (key: string) => Budget | undefined;
  /** How many ms of the rate a process buys at once; default 50. Less uses the limit better, and Redis more. */
  quantumMs?: number;
  /** The logger of faults of Redis; default: none. */
  logger?: Logger;
}

/** Options of one request to the limiter. */
export interface AcquireOptions {
  /** An estimate of what the request will be charged; a plain number counts as input. Default 0. */
  tokens?: TokenCounts | number;
  /** The place in the wait queue: 0 is interactive, larger comes later; default 10. */
  priority?: number;
  /**
   * Whether somebody waits for it. Alone before others of which none is, it gets its units before they have come, out of a part of the
   * provider's bucket that is left free; default false.
   */
  isUrgent?: boolean;
  /** `acquire` rejects with BudgetWaitError when those ahead take longer than this; default: no limit. */
  maxWaitMs?: number;
  /** The signal takes the request out of the wait queue; `acquire` rejects with its reason. */
  signal?: AbortSignal;
}

/**
 * The permission to send one request. The first of `settle` and `cancel` counts. One of them must be called where the budget
 * has `maxInFlight`, as it ends the request; elsewhere the estimate stands without them.
 */
export interface Reservation {
  /** How long `acquire` took. */
  waitedMs: number;
  /** Corrects the estimate to what the provider charged; without an argument the estimate stands. */
  settle(actualTokens?: TokenCounts | number): void;
  /** Gives back the request and its tokens, as nothing was sent. */
  cancel(): void;
}

/**
 * Keeps a fleet of processes under the limits of each budget (requests and tokens per minute over Bottleneck, calls in
 * flight by leases). Keys whose budgets name the same `bucket` share one.
 *
 * Every process buys quanta of equal size from a token bucket in Redis into an allotment of its
 * own, and the head of its wait queue spends from the allotment. A bucket holds 0.7 s of rate for a provider's bucket of
 * 1 s (`burstSeconds`, default 1), so bursts after a pause stay within what the provider accepts. Limits
 * too small for that (under about 86 per minute with `burstSeconds` 1) are granted at even spacing.
 *
 * Keys: `b_<keyPrefix>:limit:<key or bucket>:<limit>_…` (Bottleneck's; 7 days after their last use) and the zset
 * `<keyPrefix>:limit:<key or bucket>:in-flight` (15 s). Time is that of Redis; the clocks of the processes do not matter.
 */
export class RateLimiter implements AsyncDisposable {
  readonly #options: RateLimiterOptions;
  readonly #queues = new Map<string, WaitQueue>();
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
    const queue = this.#queueOf(key, budget);
    if (!queue) return { waitedMs: 0, settle() {}, cancel() {} };
    const cost = atMost(costOf(this.#correction.correct(key, estimate)), budget);
    const startedAtMs = performance.now();
    const grant = await waitIn(queue, cost, options);
    const settled = (actual: TokenCounts) => this.#correction.settled(key, estimate, actual);
    return reservation({ queue, grant, cost, settled }, performance.now() - startedAtMs);
  }

  /** Takes over the budget of a key when it has changed: those who wait under the old one wait under the new one. */
  refresh(key: string): void {
    this.#queueOf(key, this.#options.budgetOf(key));
  }

  /**
   * Grants nothing in this process for `ms`, as the provider said that it will accept nothing. What was bought is void,
   * since the provider holds less than was counted.
   *
   * @param id the budget's `bucket`, else the key
   */
  pause(id: string, ms: number): void {
    this.#queues.get(id)?.pause(ms);
  }

  /** Empties the fleet's buckets so that they hold their first unit after `ms`. Every process pauses for itself. */
  async drain(id: string, ms: number): Promise<void> {
    await this.#queues.get(id)?.drain(ms);
  }

  /**
   * Returns about how long an `acquire` would wait now, in milliseconds: 0 without a budget. It guesses from this
   * process's recent purchases, without asking Redis.
   */
  predictedWaitMs(key: string, { tokens = 0, priority = DEFAULT_PRIORITY }: AcquireOptions = {}): number {
    const queue = this.#queues.get(this.#nameOf(key, this.#options.budgetOf(key)));
    return queue?.predictedWaitMs(costOf(tokens), priority) ?? 0;
  }

  /** Returns how many requests of this process wait, by budget id. */
  waiting(): Map<string, number> {
    return new Map([...this.#queues].map(([id, queue]) => [id, queue.waiting]));
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

  /** Returns the wait queue of the budget, with its limits as they are now; undefined without a limit. */
  #queueOf(key: string, budget: Budget | undefined): WaitQueue | undefined {
    const { bucket: _, burstSeconds: __, ...limits } = budget ?? {};
    const isLimited = Object.values(limits).some((limit) => limit !== undefined);
    const name = this.#nameOf(key, budget);
    let queue = this.#queues.get(name);
    if (!queue && isLimited) {
      const { redis, subscriber, keyPrefix, quantumMs, logger } = this.#options;
      this.#connection ??= new BucketConnection(redis, subscriber);
      queue = new WaitQueue({ connection: this.#connection, name, keyPrefix, quantumMs, logger });
      this.#queues.set(name, queue);
    }
    queue?.setBudget(budget ?? {});
    return isLimited ? queue : undefined;
  }

  async #close(): Promise<void> {
    const closing = [...this.#queues.values()].map((queue) => queue.close(new RateLimiterClosedError()));
    await within(CLOSE_MS, Promise.all(closing));
    await this.#connection?.close();
  }
}

function assertPossible(key: string, cost: Cost, budget: Budget): void {
  for (const [name, limit, kind] of TOKEN_LIMITS) {
    const perMinute = budget[limit];
    if (perMinute !== undefined && cost[name] > perMinute) {
      throw new BudgetExceededError(key, cost[name], perMinute, kind);
    }
  }
}

/** Returns the cost, cut to a minute of each limit: more cannot be had, however large the request turns out to be. */
function atMost(cost: Cost, budget: Budget = {}): Cost {
  const bounded = { ...cost };
  for (const [name, limit] of TOKEN_LIMITS) {
    bounded[name] = Math.min(cost[name], Math.floor(budget[limit] ?? Number.POSITIVE_INFINITY));
  }
  return bounded;
}

function waitIn(queue: WaitQueue, cost: Cost, options: AcquireOptions): Promise<Grant> {
  const {
    priority = DEFAULT_PRIORITY,
    maxWaitMs = Number.POSITIVE_INFINITY,
    isUrgent = false,
    signal,
  } = options;
  return new Promise((resolve, reject) => {
    let waiter: Waiter | undefined;
    const abort = () => {
      if (waiter && queue.leave(waiter)) reject(signal?.reason);
    };
    const leaveWith = (finish: () => void) => {
      signal?.removeEventListener("abort", abort);
      finish();
    };
    signal?.addEventListener("abort", abort, { once: true });
    const leaveWithFault = (error: unknown) => leaveWith(() => reject(error));
    try {
      const grant = (granted: Grant) => leaveWith(() => resolve(granted));
      waiter = queue.enqueue({ cost, priority, maxWaitMs, isUrgent, grant, reject: leaveWithFault });
    } catch (error) {
      leaveWithFault(error);
    }
  });
}

/** A request that was let through. */
interface Granted {
  queue: WaitQueue;
  grant: Grant;
  cost: Cost;
  /** It is told what the request really took, when it took anything. */
  settled: (actual: TokenCounts) => void;
}

function reservation({ queue, grant, cost, settled }: Granted, waitedMs: number): Reservation {
  let isOpen = true;
  const end = (refund: Cost) => {
    if (isOpen) queue.end(grant, refund);
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
