import { setTimeout as delay } from "node:timers/promises";

/** What ends at once as long as Redis answers may take this long before a closing process goes on without it. */
export const CLOSE_MS = 2000;

/** Waits for the promise's end, however it ends, for at most `ms`. */
export async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const ended = promise.catch(() => {});
  await Promise.race([ended, delay(ms, undefined, { signal: timer.signal }).catch(() => {})]);
  timer.abort();
}
