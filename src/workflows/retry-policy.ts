import { setTimeout as delay } from "node:timers/promises";
import { InputError } from "../shared/errors.ts";

/** The tries of work in a workflow. */
export interface RetryPolicy {
  /** The number of tries in all, from 1; default 1. */
  maxAttempts?: number;
  /** The wait before the second try, in milliseconds, doubling from then on; default 1,000. */
  minWaitMs?: number;
  /** The longest wait, in milliseconds; default 30,000. */
  maxWaitMs?: number;
}

/** The longest time that Node's timers can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Returns a policy with its defaults. @throws InputError for tries and waits that cannot be. */
export function checkRetry(retry: RetryPolicy = {}): Required<RetryPolicy> {
  const { maxAttempts = 1, minWaitMs = 1000, maxWaitMs = 30_000 } = retry;
  if (!(Number.isInteger(maxAttempts) || maxAttempts === Number.POSITIVE_INFINITY) || maxAttempts < 1) {
    throw new InputError(`retry.maxAttempts must be a whole number from 1, not ${maxAttempts}`);
  }
  checkDuration("retry.minWaitMs", minWaitMs);
  checkDuration("retry.maxWaitMs", maxWaitMs);
  return { maxAttempts, minWaitMs, maxWaitMs };
}

/** @throws InputError for what is no number of milliseconds that can be waited for. */
export function checkDuration(option: string, ms: unknown, min = 0): void {
  if (typeof ms === "number" && ms >= min && ms <= MAX_TIMER_MS) return;
  throw new InputError(`${option} must be from ${min} to ${MAX_TIMER_MS} ms, not ${String(ms)}`);
}

/** Returns the milliseconds between a failed try and the next one. */
export function waitMs({ minWaitMs, maxWaitMs }: Required<RetryPolicy>, attempt: number): number {
  return Math.min(maxWaitMs, minWaitMs * 2 ** (attempt - 1));
}

/** Waits, at most until the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal }).catch(() => {});
}
