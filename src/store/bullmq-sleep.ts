import { jobKey, jobLockKey, partsOf } from "./bullmq-internals.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * What we assume of how BullMQ's jobs are held, fall asleep and are woken; see `bullmq-internals.ts`.
 */

/** Keys that `HOLD` needs. */
export const HOLD_KEYS = ["lock", "active", "stalled"] as const;

/**
 * Lua: `holds(id, token, lockMs)` is true for the worker that has the job. A lock that ran out while its worker was held
 * up is renewed when the job is still where BullMQ keeps active ones: nobody else has begun. Assumes what `jobLockKey`
 * and `SLEEP` do, and that BullMQ gives a job without a lock to others by taking it out of `active` first.
 */
export const HOLD = `
  local function holds(id, token, lockMs)
    local holder = redis.call('GET', lock)
    if holder then return holder == token end
    if redis.call('LREM', active, -1, id) == 0 then return false end
    redis.call('LPUSH', active, id)
    redis.call('SREM', stalled, id)
    redis.call('SET', lock, token, 'PX', lockMs)
    return true
  end
`;

export function holdKeys(store: Store, queue: string, jobId: string) {
  const { active, stalled } = partsOf(store, queue);
  return { lock: jobLockKey(store, queue, jobId), active, stalled };
}

/**
 * Renews a lock that ran out, unless somebody else has the job. Keys: see `HOLD`. Arguments: the job's id, the lock's
 * token, its life in milliseconds. Returns: 1 when the worker has the job. Called by the job loop. Fence: the lock.
 */
const KEEP_LOCK = new Script({
  keys: HOLD_KEYS,
  args: { id: "text", token: "text", lockMs: "number" },
  lua: `${HOLD} return holds(id, token, lockMs) and 1 or 0`,
});

/** Returns whether the worker still has the job, whose lock may have run out unnoticed. */
export async function keepLock(
  store: Store,
  queue: string,
  id: string,
  lock: { token: string; lockMs: number },
): Promise<boolean> {
  return (await KEEP_LOCK.run(store.redis, holdKeys(store, queue, id), { id, ...lock })) === 1;
}

/** Keys that `SLEEP` needs beside those of `HOLD`. */
export const SLEEP_KEYS = ["waitingChildren", "delayed", "marker", "events"] as const;

/**
 * Lua: what BullMQ's `moveToWaitingChildren` and `moveToDelayed` do, without asking whether there are children.
 * `leaveActive(id)` takes a job from its worker, which has to have it: false when it is not active. Then either
 * `waitForChildren(id, now)` or `delayUntil(id, wakeAt)`.
 *
 * Assumes that an active job is in the list `active`, perhaps in the set `stalled`, and has its lock; that a sleeping
 * one is in the sorted set `waiting-children` or `delayed` and nowhere else; that scores of `delayed` are epoch
 * milliseconds times 0x1000; and that member `1` of `marker` tells workers when the first of them is due.
 */
export const SLEEP = `
  local function leaveActive(id)
    if redis.call('LREM', active, -1, id) == 0 then return false end
    redis.call('DEL', lock)
    redis.call('SREM', stalled, id)
    return true
  end
  local function waitForChildren(id, now)
    redis.call('ZADD', waitingChildren, now, id)
    redis.call('XADD', events, '*', 'event', 'waiting-children', 'jobId', id, 'prev', 'active')
  end
  local function delayUntil(id, wakeAt)
    redis.call('ZADD', delayed, wakeAt * 0x1000, id)
    local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
    redis.call('ZADD', marker, first[2] / 0x1000, '1')
    redis.call('XADD', events, '*', 'event', 'delayed', 'jobId', id, 'delay', wakeAt)
  end
`;

export function sleepKeys(store: Store, queue: string): Record<(typeof SLEEP_KEYS)[number], string> {
  const { waitingChildren, delayed, marker, events } = partsOf(store, queue);
  return { waitingChildren, delayed, marker, events };
}

/** Keys that `WAKE` needs. */
export const WAKE_KEYS = [
  ...["job", "wait", "prioritized", "waitingChildren", "delayed", "marker", "meta", "counter", "events"],
] as const;

/**
 * Lua: `pushJob(id, from)` puts a job that is nowhere where workers find it. Needs the locals of `WAKE_KEYS`, and assumes
 * of them what `WAKE` does.
 */
export const PUSH_JOB = `
  local function pushJob(id, from)
    local priority = tonumber(redis.call('HGET', job, 'priority') or 0) or 0
    if priority == 0 then
      redis.call('LPUSH', wait, id)
    else
      redis.call('ZADD', prioritized, priority * 0x100000000 + redis.call('INCR', counter) % 0x100000000, id)
    end
    redis.call('HSET', job, 'delay', 0)
    if not redis.call('HGET', meta, 'paused') then redis.call('ZADD', marker, 0, '0') end
    redis.call('XADD', events, 'MAXLEN', '~', 1000, '*', 'event', 'waiting', 'jobId', id, 'prev', from)
  end
`;

/**
 * Lua: what BullMQ's `promote` does, also for a job that waits for its children, which BullMQ itself wakes only when
 * the last of them has ended. `wakeJob(id)` returns false when the job does not sleep.
 *
 * Assumes what `SLEEP` does; that jobs without a priority wait in the list `wait`, whose left end is its tail, others in
 * the sorted set `prioritized` by priority and a counter (`pc`); that member `0` of `marker` tells workers of a job,
 * unless `meta` says that the queue is paused; and that nobody has set BullMQ's global concurrency, which is there too.
 */
export const WAKE = `
  ${PUSH_JOB}
  local function wakeJob(id)
    if redis.call('ZREM', waitingChildren, id) == 0 and redis.call('ZREM', delayed, id) == 0 then return false end
    pushJob(id, 'waiting-children')
    return true
  end
`;

/** Lua: the locals of `WAKE_KEYS`, where only the script knows the job's `queue`. Needs locals `prefix`, `queue`, `id`. */
export const WAKE_LOCALS = `
  local function part(name) return prefix .. ':' .. queue .. ':' .. name end
  local job, wait, prioritized, waitingChildren = part(id), part('wait'), part('prioritized'), part('waiting-children')
  local delayed, marker, meta, counter, events = part('delayed'), part('marker'), part('meta'), part('pc'), part('events')
`;

export function wakeKeys(store: Store, queue: string, jobId: string) {
  const { wait, prioritized, waitingChildren, delayed, marker, meta, counter, events } = partsOf(
    store,
    queue,
  );
  const job = jobKey(store, queue, jobId);
  return { job, wait, prioritized, waitingChildren, delayed, marker, meta, counter, events };
}
