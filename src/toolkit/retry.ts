import { setTimeout as delay } from "node:timers/promises";
import type { CircuitBreaker } from "../limits/circuit-breaker.ts";
import type { RateLimiter } from "../limits/rate-limiter.ts";
import { readFault } from "../providers/fault.ts";
import { toLLMError } from "../providers/provider-errors.ts";
import { policyOf } from "../shared/error-policy.ts";
import { APIConnectionError, GlueError } from "../shared/errors.ts";
import type { TokenCounts } from "../shared/token-counts.ts";
import { type AttemptState, verdictOn } from "../workers/verdict.ts";

/** Options of retries. */
export interface RetryOptions {
  /** The attempts at failures that may pass (5xx, network, timeouts, unknown errors); default 3. */
  maxAttempts?: number;
  /** The shortest wait; each is `min + random(0, min(max, min·2ⁿ) − min)`. Default 2,000. */
  minWaitMs?: number;
  /** The longest wait; default 30,000. */
  maxWaitMs?: number;
  /** The time for which 429s and an open breaker are waited out, which uses up no attempt; default 600,000. */
  deadlineMs?: number;
  /** Returns false for an error after which a retry is not to be made; default: none. */
  shouldRetry?: (error: unknown) => boolean;
  /** A signal that ends the waiting; the call rejects with its reason. */
  signal?: AbortSignal;
}

/**
 * Returns `fn` with the retries that a worker would make: the same verdicts, also on the errors of both official SDKs
 * (give those `maxRetries: 0`). The wrapper rejects with what `fn` threw last.
 */
export function retryOnFailure<Args extends unknown[], T>(
  fn: (...args: Args) => Promise<T>,
  options: RetryOptions = {},
): (...args: Args) => Promise<T> {
  return (...args) => retry(() => fn(...args), options);
}

/** Options of a call to a provider. */
export interface LlmCallOptions extends RetryOptions {
  /** The name of budget and breaker: `openai:gpt-4o`. */
  key: string;
  /** The limiter that the call waits for; default: none. */
  limiter?: RateLimiter;
  /** The breaker that the call stands behind; default: none. */
  breaker?: CircuitBreaker;
  /** The estimate of what the call is charged, for the limiter; a plain number counts as input tokens. */
  tokens?: TokenCounts | number;
  /** Returns what the call was charged in the end; default, and when this throws: the estimate. */
  chargedTokens?: (result: unknown) => TokenCounts | number | undefined;
}

/**
 * Makes one call to a provider by your own code, as a worker would, and returns what it brought: within the fleet's
 * budget, behind its circuit breaker, with its retries. What a call needs more than once is not kept: for that, enqueue
 * it.
 *
 * @throws what `call` threw last; BudgetExceededError; CircuitOpenError past the deadline; the reason of `signal`
 */
export function callLlmWithRetry<T>(call: () => Promise<T>, options: LlmCallOptions): Promise<T> {
  const { key, limiter, breaker, tokens, chargedTokens, signal } = options;
  const once = async (isRepeated: boolean) => {
    const reservation = await limiter?.acquire(key, { tokens, signal });
    let isMade = false;
    const make = () => {
      isMade = true;
      return call();
    };
    const run = breaker ? breaker.run(key, make, { isRepeated }) : make();
    const result = await run.catch((error) => {
      if (isMade) reservation?.settle();
      else reservation?.cancel();
      throw error;
    });
    reservation?.settle(chargedOf(result, chargedTokens));
    return result;
  };
  return retry(once, options, () => breaker?.excuses(key) ?? false);
}

/** Returns what the call was charged. The answer is paid for: a fault in reading its cost must not repeat the call. */
function chargedOf<T>(result: T, read: LlmCallOptions["chargedTokens"]): TokenCounts | number | undefined {
  try {
    return read?.(result);
  } catch {
    return undefined;
  }
}

async function retry<T>(
  fn: (isRepeated: boolean) => Promise<T>,
  options: RetryOptions,
  isOutage = () => false,
): Promise<T> {
  const { maxAttempts = 3, minWaitMs = 2000, maxWaitMs = 30_000, deadlineMs = 600_000, signal } = options;
  const state: AttemptState = {
    attempt: 1,
    maxAttempts,
    deadlineAt: Date.now() + deadlineMs,
    isBatchRow: false,
    snoozes: 0,
    isOutage: false,
  };
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await fn(state.attempt > 1);
    } catch (error) {
      signal?.throwIfAborted();
      state.isOutage = isOutage();
      const fault = toGlueError(error);
      const verdict = verdictOn(fault, state, { minWaitMs, maxWaitMs });
      // No queue waits for it, however long the provider's pause is.
      const isFinal = !("delayMs" in verdict) || Date.now() + verdict.delayMs > state.deadlineAt;
      if (isFinal || options.shouldRetry?.(error) === false) throw error;
      if (verdict.kind === "retry") {
        state.attempt += 1;
        if (policyOf(fault).fails === "second") state.lastingFault = fault.code;
      } else state.snoozes += 1;
      await delay(verdict.delayMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

/** Returns an SDK's error in the words of the verdict table; without an HTTP status it is a failed connection. */
function toGlueError(error: unknown): GlueError {
  if (error instanceof GlueError) return error;
  const fault = readFault(error);
  const entry = { name: "the provider", dialect: "openai", baseUrl: "", keyVariable: "its key" } as const;
  if (fault) return toLLMError(fault, entry, "");
  return new APIConnectionError({ code: "unknown", message: "the call failed without an answer" });
}
