import type { LocalOptions } from "./context.ts";
import type { LocalEffect } from "./effect.ts";
import { checkDuration, checkRetry } from "./retry-policy.ts";

/** Returns how local work is to be done. @throws InputError for tries and times that cannot be. */
export function checkLocal({ retry, timeoutMs }: LocalOptions): Pick<LocalEffect, "retry" | "timeoutMs"> {
  if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs, 1);
  return { retry: checkRetry(retry), timeoutMs };
}
