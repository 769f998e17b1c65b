import { InputError } from "../shared/errors.ts";
import type { LocalOptions } from "./context.ts";
import type { LocalEffect } from "./effect.ts";

/** The longest time that Node's timers can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Returns how local work is to be done. @throws InputError for tries and times that cannot be. */
export function checkLocal({
  retry = {},
  timeoutMs,
}: LocalOptions): Pick<LocalEffect, "retry" | "timeoutMs"> {
  const { maxAttempts = 1, minWaitMs = 1000, maxWaitMs = 30_000 } = retry;
  if (!(Number.isInteger(maxAttempts) || maxAttempts === Number.POSITIVE_INFINITY) || maxAttempts < 1) {
    throw new InputError(`retry.maxAttempts must be a whole number from 1, not ${maxAttempts}`);
  }
  checkDuration("retry.minWaitMs", minWaitMs);
  checkDuration("retry.maxWaitMs", maxWaitMs);
  if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs, 1);
  return { retry: { maxAttempts, minWaitMs, maxWaitMs }, timeoutMs };
}

/** @throws InputError for what is no number of milliseconds that can be waited for. */
export function checkDuration(option: string, ms: unknown, min = 0): void {
  if (typeof ms === "number" && ms >= min && ms <= MAX_TIMER_MS) return;
  throw new InputError(`${option} must be from ${min} to ${MAX_TIMER_MS} ms, not ${String(ms)}`);
}
