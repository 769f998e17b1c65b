import { setTimeout as delay } from "node:timers/promises";
import type { CircuitBreaker } from "../limits/circuit-breaker.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";
import { readFault } from "../providers/fault.ts";
import { toLLMError } from "../providers/provider-errors.ts";
import { APIConnectionError, GlueError } from "../shared/errors.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import { type AttemptState, verdictOn } from "../workers/verdict.ts";

export interface RetryOptions {
  /** Attempts at failures that may pass (5xx, network, timeouts, unknown errors); default 3. */
  maxAttempts?: number;
  /** Waits are `min + random(0, min(max, min·2ⁿ) − min)`; defaults 2,000 and 30,000. */
  minWaitMs?: number;
  maxWaitMs?: number;
  /** How long 429s and an open breaker are waited out, which uses up no attempt; default 10 minutes. */
  deadlineMs?: number;
  /** Says no to a retry that would be made. */
  shouldRetry?: (error: unknown) => boolean;
  signal?: AbortSignal;
}

/**
 * `fn` with the retries that a worker would make: the same verdicts, also on the errors of both official SDKs
 * (give those `maxRetries: 0`). The wrapper rejects with what `fn` threw last.
 */
export function retryOnFailure<Args extends unknown[], T>(
  fn: (...args: Args) => Promise<T>,
  options: RetryOptions = {},
): (...args: Args) => Promise<T> {
  return (...args) => retry(() => fn(...args), options);
}

export interface LlmCallOptions extends RetryOptions {
  /** Names budget and breaker: `openai:gpt-4o`. */
  key: string;
  limiter?: RateLimiter;
  breaker?: CircuitBreaker;
  /** Estimate of what the call is charged, for the limiter. */
  tokens?: TokenCounts | number;
  /** What it was charged in the end; default, and when this throws: the estimate. */
  chargedTokens?: (result: unknown) => TokenCounts | number | undefined;
}

/**
 * One call to a provider of your own code, as a worker makes it: within the fleet's budget, behind its circuit
 * breaker, with its retries. What a call needs more than once is not kept: for that, enqueue it.
 *
 * @throws what `call` threw last; BudgetExceededError; CircuitOpenError past the deadline; the reason of `signal`
 */
export function callLlmWithRetry<T>(call: () => Promise<T>, options: LlmCallOptions): Promise<T> {
  const { key, limiter, breaker, tokens, chargedTokens, signal } = options;
  const once = async () => {
    const reservation = await limiter?.acquire(key, { tokens, signal });
    let isMade = false;
    const make = () => {
      isMade = true;
      return call();
    };
    const result = await (breaker ? breaker.run(key, make) : make()).catch((error) => {
      if (isMade) reservation?.settle();
      else reservation?.cancel();
      throw error;
    });
    reservation?.settle(chargedOf(result, chargedTokens));
    return result;
  };
  return retry(once, options, () => breaker?.isOpen(key) ?? false);
}

/** The answer is paid for: a fault in reading its cost must not repeat the call. */
function chargedOf<T>(result: T, read: LlmCallOptions["chargedTokens"]): TokenCounts | number | undefined {
  try {
    return read?.(result);
  } catch {
    return undefined;
  }
}

async function retry<T>(
  fn: () => Promise<T>,
  options: RetryOptions,
  isBreakerOpen = () => false,
): Promise<T> {
  const { maxAttempts = 3, minWaitMs = 2000, maxWaitMs = 30_000, deadlineMs = 600_000, signal } = options;
  const state: AttemptState = {
    attempt: 1,
    maxAttempts,
    deadlineAt: Date.now() + deadlineMs,
    isBatchRow: false,
    snoozes: 0,
    isBreakerOpen: false,
  };
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await fn();
    } catch (error) {
      state.isBreakerOpen = isBreakerOpen();
      const verdict = verdictOn(toGlueError(error), state, { minWaitMs, maxWaitMs });
      const isFinal = verdict.kind !== "retry" && verdict.kind !== "snooze";
      if (isFinal || signal?.aborted || options.shouldRetry?.(error) === false) throw error;
      if (verdict.kind === "retry") state.attempt += 1;
      else state.snoozes += 1;
      await delay(verdict.delayMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

/** An error of an SDK in the words of the verdict table; without an HTTP status it counts as a failed connection. */
function toGlueError(error: unknown): GlueError {
  if (error instanceof GlueError) return error;
  const fault = readFault(error);
  const entry = { name: "the provider", dialect: "openai", baseUrl: "", keyVariable: "its key" } as const;
  if (fault) return toLLMError(fault, entry, "");
  return new APIConnectionError({ code: "unknown", message: "the call failed without an answer" });
}
