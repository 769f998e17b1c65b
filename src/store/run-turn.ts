import { RUN_TTL_SECONDS } from "../shared/retention.ts";
import { childrenKey } from "./bullmq-internals.ts";
import { HOLD, HOLD_KEYS, holdKeys, SLEEP, SLEEP_KEYS, sleepKeys } from "./bullmq-sleep.ts";
import { COUNT_END, END_COUNT_ARGS, END_COUNT_KEYS, type endCount } from "./error-counts.ts";
import { ANNOUNCE, ANNOUNCE_RUN } from "./outbox.ts";
import { clockOf } from "./redis-clock.ts";
import { sealRunFields } from "./run-fields.ts";
import { ENTER_LIMIT, LEAVE_LIMITS } from "./run-limits.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";
import { WAKE_RUN } from "./wake-run.ts";

/*
 * What the worker that has a run does with its record (see `run-record.ts`), all of it fenced by the lock of the run's
 * job.
 */

/** A worker's hold on a run: its job's lock. */
export interface RunLock {
  store: Store;
  runId: string;
  /** That the run's job is in. */
  queue: string;
  token: string;
  lockMs: number;
}

/** Another worker has the run, or the run has ended. */
export type Denied = "fenced" | "over";

/**
 * Lua: `endedLife(ttlSeconds)` returns how long what a run leaves lives, in seconds: longer when its parent runs for longer, which may
 * ask until its own end how the child ended. It needs locals `run` and `prefix`.
 */
export const ENDED_LIFE = `
  local function endedLife(ttlSeconds)
    local parentId = redis.call('HGET', run, 'parentRunId')
    local parent = parentId and prefix .. ':workflow:' .. parentId
    if not parent or redis.call('HGET', parent, 'status') ~= 'running' then return ttlSeconds end
    return math.max(ttlSeconds, redis.call('TTL', parent))
  end
`;

export const FENCE_KEYS = [...HOLD_KEYS, "run", "journal"] as const;
export const FENCE_ARGS = { id: "text", token: "text", lockMs: "number" } as const;

/** Lua: only who has a running run gets past these lines. Keys: `FENCE_KEYS`. Arguments: `FENCE_ARGS`. */
export const FENCE = `${HOLD}
  if not holds(id, token, lockMs) then return 'fenced' end
  if redis.call('HGET', run, 'status') ~= 'running' then return 'over' end
`;

export function fenceKeys({ store, queue, runId }: RunLock) {
  const { keys } = store;
  return {
    ...holdKeys(store, queue, runId),
    run: keys.workflow(runId),
    journal: keys.workflowJournal(runId),
  };
}

export function fenceArgs({ runId: id, token, lockMs }: RunLock) {
  return { id, token, lockMs };
}

/**
 * Puts the run to sleep unless something has happened that its function has not seen. The job counts as delayed when
 * it has a time to wake.
 * Keys: see `FENCE` and `SLEEP`. Arguments: those of `FENCE`; the entries that the function has `seen`; `at`, and `wakeAt` or nothing, in epoch milliseconds; fields of the record. Returns: 'suspended'; 'news' when there
 * are more entries; 'rewound' when there are fewer; or a `Denied`. Called by `suspendRun`, at the end of a turn.
 * Fence: the lock of the run's job, and that the run is running.
 */
const SUSPEND = new Script({
  keys: [...FENCE_KEYS, ...SLEEP_KEYS],
  args: { ...FENCE_ARGS, seen: "number", at: "number", wakeAt: "number?" },
  moreArgs: "fields",
  lua: `${FENCE}${SLEEP}
    local length = redis.call('LLEN', journal)
    if length > seen then return 'news' end
    if length < seen then return 'rewound' end
    if not leaveActive(id) then return 'fenced' end
    if #fields > 0 then redis.call('HSET', run, unpack(fields)) end
    if wakeAt then delayUntil(id, wakeAt) else waitForChildren(id, at) end
    return 'suspended'
  `,
});

/**
 * Puts the run to sleep, until `wakeAt` or until somebody tells it something; `news` when somebody has.
 * @throws Error when Redis has lost entries that the function has seen
 */
export async function suspendRun(
  lock: RunLock,
  seen: number,
  wakeAt: number | undefined,
  fields: readonly string[],
): Promise<"suspended" | "news" | Denied> {
  const { store, queue } = lock;
  const outcome = await SUSPEND.run(
    store.redis,
    { ...fenceKeys(lock), ...sleepKeys(store, queue) },
    { ...fenceArgs(lock), seen, at: Date.now(), wakeAt },
    { args: await sealRunFields(store, lock.runId, fields) },
  );
  if (outcome === "rewound") throw new Error("the run's journal has lost its end");
  return outcome as "suspended" | "news" | Denied;
}

/**
 * Lets a run begin, or puts it to sleep until its limits let it.
 * Keys: see `FENCE` and `SLEEP`. Arguments: those of `FENCE`; `at` and `wakeAt` as of `SUSPEND`; the `name` of its limit of concurrency, empty
 * without one, with its places and the run's `priority` there; `prefix` and `channel` of the namespace. Returns: 'begun'; 'waits' when it
 * sleeps; or a `Denied`. Called by `enterRun`, before a worker begins with a run. Fence: the lock of the run's job, and that the run is running.
 */
const ENTER = new Script({
  keys: [...FENCE_KEYS, ...SLEEP_KEYS],
  args: {
    ...{ ...FENCE_ARGS, at: "number", wakeAt: "number?", name: "text", limit: "number", priority: "number" },
    ...{ prefix: "text", channel: "text" },
  },
  lua: `${FENCE}${SLEEP}${NOTIFY}${WAKE_RUN}${LEAVE_LIMITS}${ENTER_LIMIT}
    local startAt = tonumber(redis.call('HGET', run, 'startAt') or 0)
    if startAt > at then
      if not leaveActive(id) then return 'fenced' end
      delayUntil(id, wakeAt and math.min(wakeAt, startAt) or startAt)
      return 'waits'
    end
    local debounce = redis.call('HGET', run, 'debounce')
    if debounce then forgetPointer(debounce, id) end
    if name ~= '' and not enterLimit(id, name, limit, priority, at) then
      if not leaveActive(id) then return 'fenced' end
      if wakeAt then delayUntil(id, wakeAt) else waitForChildren(id, at) end
      return 'waits'
    end
    redis.call('HSET', run, 'begunAt', at)
    return 'begun'
  `,
});

/**
 * Lets a run begin, or puts it to sleep until its limits let it.
 * @param place its limit of concurrency: name and places; undefined: none
 * @param wakeAt its own deadline, in epoch milliseconds
 */
export async function enterRun(
  lock: RunLock,
  place: { name: string; limit: number } | undefined,
  { priority, wakeAt }: { priority: number; wakeAt: number | undefined },
): Promise<"begun" | "waits" | Denied> {
  const { store, queue } = lock;
  const { prefix, channel } = store.keys;
  const { name, limit } = place ?? { name: "", limit: 0 };
  return (await ENTER.run(
    store.redis,
    { ...fenceKeys(lock), ...sleepKeys(store, queue) },
    { ...fenceArgs(lock), at: clockOf(store).now(), wakeAt, name, limit, priority, prefix, channel },
  )) as "begun" | "waits" | Denied;
}

/**
 * Makes a run's end final. Steps that nobody waits for any more would keep BullMQ from completing the job: it forgets
 * them.
 * Keys: see `FENCE`; the job's children; the runs' deadlines; ids of its signals; the outbox. Arguments: those of `FENCE`, the record's least `ttlSeconds` from
 * now, the channel, the `prefix` of the keys, the time `at`, whether the run `hasLimits`, those of `COUNT_END`, fields of the record. Returns: 'finished' or a `Denied`. Called by `finishRun`, at the run's last turn.
 * Fence: the lock of the run's job, and that the run is running.
 */
const FINISH = new Script({
  keys: [...FENCE_KEYS, "children", "deadlines", "signals", "outbox", ...END_COUNT_KEYS],
  args: {
    ...{ ...FENCE_ARGS, ttlSeconds: "number", channel: "text", prefix: "text", at: "number" },
    hasLimits: "flag",
    ...END_COUNT_ARGS,
  },
  moreArgs: "fields",
  lua: `${COUNT_END}${FENCE}${NOTIFY}${WAKE_RUN}${LEAVE_LIMITS}${ENDED_LIFE}${ANNOUNCE}${ANNOUNCE_RUN}
    redis.call('HSET', run, unpack(fields))
    redis.call('HDEL', run, 'blocked', 'local')
    redis.call('ZREM', deadlines, id)
    local life = endedLife(ttlSeconds)
    for _, key in ipairs({run, journal, signals}) do redis.call('EXPIRE', key, life) end
    redis.call('DEL', children)
    if hasLimits then leaveLimits(id, at) end
    announceRun(run, id)
    countEnd('end')
    notify('result', id)
    return 'finished'
  `,
});

/**
 * Makes a run's end final. Everything after it (BullMQ's own completion) may be lost without harm.
 * @param hasLimits whether it may have a place, or stand for the starts of others
 * @param counted what it counts as
 */
export async function finishRun(
  lock: RunLock,
  fields: readonly string[],
  hasLimits: boolean,
  counted: ReturnType<typeof endCount>,
): Promise<"finished" | Denied> {
  const { store, queue, runId } = lock;
  const { workflowDeadlines: deadlines, channel, prefix, outbox } = store.keys;
  const signals = store.keys.workflowSignals(runId);
  const outcome = await FINISH.run(
    store.redis,
    {
      ...{ ...fenceKeys(lock), children: childrenKey(store, queue, runId), deadlines, signals, outbox },
      ...counted.keys,
    },
    {
      ...{ ...fenceArgs(lock), ttlSeconds: RUN_TTL_SECONDS, channel, prefix, at: clockOf(store).now() },
      hasLimits,
      ...counted.args,
    },
    { args: await sealRunFields(store, runId, fields) },
  );
  return outcome as "finished" | Denied;
}

/**
 * Writes down why no worker can go on with the run, and tells who waits for it.
 * Keys: see `FENCE`. Arguments: those of `FENCE`, the `error` as JSON, the ids of the `unfit` workers as JSON, the channel. Returns: 'blocked' or a
 * `Denied`. Called by `blockRun`. Fence: the lock of the run's job, and that the run is running.
 */
const BLOCK = new Script({
  keys: FENCE_KEYS,
  args: { ...FENCE_ARGS, error: "text", unfit: "text", channel: "text" },
  lua: `${FENCE}${NOTIFY}
    redis.call('HSET', run, 'blocked', error, 'unfit', unfit)
    notify('result', id)
    return 'blocked'
  `,
});

/** Says why no worker could go on with the run, until one can. */
export async function blockRun(lock: RunLock, error: string, unfit: readonly string[]): Promise<void> {
  const { redis, keys } = lock.store;
  const [, sealed = ""] = await sealRunFields(lock.store, lock.runId, ["blocked", error]);
  await BLOCK.run(redis, fenceKeys(lock), {
    ...{ ...fenceArgs(lock), error: String(sealed), unfit: JSON.stringify(unfit), channel: keys.channel },
  });
}

/**
 * Writes down how the run stands while its function works. Keys and arguments: see `FENCE`; fields of the record. Returns:
 * 'shown' or a `Denied`. Called by `showRun`. Fence: the lock of the run's job, and that the run is running.
 */
const SHOW = new Script({
  keys: FENCE_KEYS,
  args: FENCE_ARGS,
  moreArgs: "fields",
  lua: `${FENCE}
    redis.call('HSET', run, unpack(fields))
    return 'shown'
  `,
});

/** Writes down how the run stands while its function works. */
export async function showRun(lock: RunLock, fields: readonly string[]): Promise<void> {
  const args = await sealRunFields(lock.store, lock.runId, fields);
  await SHOW.run(lock.store.redis, fenceKeys(lock), fenceArgs(lock), { args });
}

/** Says that a worker goes on with the run. */
export async function unblockRun({ store, runId }: RunLock): Promise<void> {
  await store.redis.hdel(store.keys.workflow(runId), "blocked");
}
