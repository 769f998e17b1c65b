import { setTimeout as delay } from "node:timers/promises";

/**
 * Asks until the answer is truthy; fails with `what` after `timeoutMs`, which is less than a test has and enough for the
 * busiest machine.
 */
export async function waitFor<T>(
  what: string,
  ask: () => T | Promise<T>,
  timeoutMs = 240_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await delay(20);
  }
}
