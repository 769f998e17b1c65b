import { NOW, Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The calls in flight of a budget: the sorted set `:limit:<budget id>:in-flight`, a lease per call by the time at which
 * it ends, in epoch milliseconds on the clock of Redis. A process takes a lease before its call and gives it back after.
 *
 * | lease  | in the set                | what changes it                                                    |
 * |--------|---------------------------|--------------------------------------------------------------------|
 * | none   | –                         | `takeLease` adds it while there are fewer than the budget allows   |
 * | held   | until a time to come      | `renewLeases` moves that time; `releaseLeases` removes it          |
 * | ended  | until a time that is past | the next `takeLease` removes it: its process died, or lost Redis   |
 */

/** A process that dies frees its leases after this long. */
const LEASE_MS = 15_000;

/**
 * Takes a lease when one is free. Keys: the leases. Arguments: the `lease`'s id, `leaseMs`, the `maximum` of leases.
 * Returns: 1 when it was taken, else 0. Called by a process whose next request has its turn.
 * Fence: the number of leases.
 */
const TAKE = new Script({
  keys: ["leases"],
  args: { lease: "text", leaseMs: "number", maximum: "number" },
  lua: `${NOW}
    redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
    if redis.call('ZCARD', leases) >= maximum then return 0 end
    redis.call('ZADD', leases, now + leaseMs, lease)
    redis.call('PEXPIRE', leases, leaseMs)
    return 1
  `,
});

/** Tries once to take a lease; false when the budget has no more than `maximum`, which are all held. */
export async function takeLease(
  { redis, keys }: Store,
  budgetId: string,
  lease: string,
  maximum: number,
): Promise<boolean> {
  const args = { lease, leaseMs: LEASE_MS, maximum };
  return (await TAKE.run(redis, { leases: keys.inFlight(budgetId) }, args)) === 1;
}

/**
 * Renews leases. Keys: the leases. Arguments: `leaseMs`, then ids. Returns: nothing. Called by the process that holds
 * them, every five seconds. Fence: a lease that was removed does not come back.
 */
const RENEW = new Script({
  keys: ["leases"],
  args: { leaseMs: "number" },
  moreArgs: "held",
  lua: `${NOW}
    for _, lease in ipairs(held) do redis.call('ZADD', leases, 'XX', now + leaseMs, lease) end
    redis.call('PEXPIRE', leases, leaseMs)
  `,
});

/** Keeps the leases for 15 seconds more; to be repeated every few seconds. */
export async function renewLeases(
  { redis, keys }: Store,
  budgetId: string,
  held: readonly string[],
): Promise<void> {
  await RENEW.run(redis, { leases: keys.inFlight(budgetId) }, { leaseMs: LEASE_MS }, { args: held });
}

/** Gives leases back. */
export async function releaseLeases(
  { redis, keys }: Store,
  budgetId: string,
  held: readonly string[],
): Promise<void> {
  await redis.zrem(keys.inFlight(budgetId), ...held);
}
