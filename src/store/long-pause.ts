import { resumeQueues } from "./bullmq-internals.ts";
import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";
import { notify } from "./topics.ts";

/*
 * A provider's pause of more than five minutes: a hash at `:pause:<budget id>` with `until`, `reason` and `testAt`, gone
 * when the pause is. Times are epoch milliseconds by the clock of Redis. Providers are wrong about long times more often
 * than about short ones, and an operator may have mended the cause: so the queues are paused for a minute at a time,
 * and then one call of the whole fleet tests the provider.
 *
 * | from   | to     | by             | who                                                             |
 * |--------|--------|----------------|-----------------------------------------------------------------|
 * | none   | paused | `beginPause`   | the worker whose call was refused                               |
 * | paused | paused | `takeTest`     | the worker that makes the minute's test: `testAt` moves on      |
 * | paused | none   | `liftPause`    | the worker whose test was answered; an operator                 |
 * | paused | none   | –              | its time is over                                                |
 */

/** A pause up to this length is slept through. */
export const LONG_PAUSE_MS = 5 * 60_000;
/** One call per this time tests a longer one. */
export const PAUSE_TEST_MS = 60_000;

/**
 * Keys: the pause. Arguments: its length, why, and when the first test is due. Returns nothing. Called by `beginPause`.
 * Fence: none; the latest word of the provider stands.
 */
const BEGIN = new Script({
  keys: ["pause"],
  args: { ms: "number", reason: "text", testMs: "number" },
  lua: `${NOW}
    redis.call('HSET', pause, 'until', string.format('%.0f', now + ms), 'reason', reason,
      'testAt', string.format('%.0f', now + testMs))
    redis.call('PEXPIRE', pause, ms)
  `,
});

/** Begins a long pause of a budget, or takes over what the provider says of it now. */
export async function beginPause(store: Store, budgetId: string, ms: number, reason: string): Promise<void> {
  const args = { ms: Math.ceil(ms), reason, testMs: PAUSE_TEST_MS };
  await BEGIN.run(store.redis, { pause: store.keys.pause(budgetId) }, args);
}

/**
 * Keys: the pause. Arguments: when the next test is due. Returns: 0 when there is no pause; -1 to the caller who is to
 * test it; else the milliseconds until the next test. Called before a call under a long pause. Fence: `testAt`.
 */
const TAKE_TEST = new Script({
  keys: ["pause"],
  args: { testMs: "number" },
  lua: `${NOW}
    local testAt = tonumber(redis.call('HGET', pause, 'testAt') or '')
    if not testAt then return 0 end
    if now < testAt then return testAt - now end
    redis.call('HSET', pause, 'testAt', string.format('%.0f', now + testMs))
    return -1
  `,
});

/** Asks whether a call may be made: there is no pause, it is the minute's test, or when to ask again. */
export async function takeTest(
  store: Store,
  budgetId: string,
): Promise<{ kind: "none" } | { kind: "test" } | { kind: "wait"; waitMs: number }> {
  const args = { testMs: PAUSE_TEST_MS };
  const answer = Number(await TAKE_TEST.run(store.redis, { pause: store.keys.pause(budgetId) }, args));
  if (answer === 0) return { kind: "none" };
  return answer < 0 ? { kind: "test" } : { kind: "wait", waitMs: answer };
}

/** Ends the pause of a budget, long or short: its queues go on at once, in all processes. */
export async function liftPause(store: Store, budgetId: string, queues: readonly string[]): Promise<void> {
  await store.redis.del(store.keys.pause(budgetId));
  await resumeQueues(store, queues);
  await notify(store, "pause", `0:${budgetId}`);
}

/** A long pause for people to see. */
export interface LongPause {
  /** Epoch milliseconds. */
  until: number;
  reason: string;
}

/** Returns the ids under which a long pause of a model may be kept: that of its budget, and its own. */
export function pauseIdsOf(budgetId: string, modelKey: string): string[] {
  return [...new Set([budgetId, modelKey])];
}

/** Returns the long pause that is kept under one of these ids; undefined when there is none. */
export async function readLongPause(store: Store, ids: readonly string[]): Promise<LongPause | undefined> {
  for (const id of ids) {
    const [until, reason] = await store.redis.hmget(store.keys.pause(id), "until", "reason");
    if (until) return { until: Number(until), reason: reason ?? "" };
  }
  return undefined;
}
