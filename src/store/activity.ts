import { HOLD, HOLD_KEYS, holdKeys } from "./bullmq-sleep.ts";
import { repliesOf } from "./redis.ts";
import { entryText } from "./run-fields.ts";
import type { EndedEntry } from "./run-journal.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";
import { WAKE_RUN } from "./wake-run.ts";

/*
 * What there is of an activity of a run beside its job: the hash `:activity:<jobId>`, kept for a day after its end, and
 * for 32 days after the last thing that happened to it.
 *
 * | from           | to       | by               | who                                                              |
 * |----------------|----------|------------------|------------------------------------------------------------------|
 * | none, begun    | begun    | `beatActivity`   | the worker that has its job: `details` of its last heartbeat     |
 * | none, begun    | begun    | `countTry`       | the same: a failed try, or one without heartbeats                |
 * | none, begun    | ended    | `endActivity`    | the same, together with the entry of the run's journal           |
 * | none, begun    | ended    | `cancelActivity` | whoever ends the step or its run                                 |
 */

const TTL_SECONDS = 32 * 86_400;
const ENDED_TTL_SECONDS = 86_400;

/** A worker's hold on an activity: its job's lock. */
export interface ActivityLock {
  store: Store;
  queue: string;
  jobId: string;
  runId: string;
  token: string;
  lockMs: number;
}

/** Another worker has it; or nobody waits for it any more. */
export type ActivityDenied = "fenced" | "over";

const FENCE_KEYS = [...HOLD_KEYS, "activity", "run"] as const;
const FENCE_ARGS = { id: "text", token: "text", lockMs: "number" } as const;

/** Lua: only who has an activity that has not ended, of a run that goes on, gets past these lines. */
const FENCE = `${HOLD}
  if not holds(id, token, lockMs) then return 'fenced' end
  if redis.call('HEXISTS', activity, 'ended') == 1 or redis.call('HGET', run, 'status') ~= 'running' then
    return 'over'
  end
`;

function fenceKeys({ store, queue, jobId, runId }: ActivityLock) {
  const { keys } = store;
  return { ...holdKeys(store, queue, jobId), activity: keys.activity(jobId), run: keys.workflow(runId) };
}

function fenceArgs({ jobId: id, token, lockMs }: ActivityLock) {
  return { id, token, lockMs };
}

/**
 * Writes fields of an activity that is under way. Keys and arguments: see `FENCE`; `isTry` and `isMissed` count it; then fields and
 * values. Returns: 'kept' or an `ActivityDenied`. Called by `beatActivity` and `countTry`. Fence: the lock of its job,
 * that it has not ended, and that the run is running.
 */
const KEEP = new Script({
  keys: FENCE_KEYS,
  args: { ...FENCE_ARGS, isTry: "flag", isMissed: "flag" },
  moreArgs: "fields",
  lua: `${FENCE}
    if isTry then redis.call('HINCRBY', activity, 'tries', 1) end
    if isMissed then redis.call('HINCRBY', activity, 'missed', 1) end
    if #fields > 0 then redis.call('HSET', activity, unpack(fields)) end
    redis.call('EXPIRE', activity, ${TTL_SECONDS})
    return 'kept'
  `,
});

const DETAILS = "heartbeat of activity";

/** Says that it goes on. @param details as JSON, for the next try; undefined: as before */
export async function beatActivity(
  lock: ActivityLock,
  details: string | undefined,
): Promise<"kept" | ActivityDenied> {
  const { store, id } = { store: lock.store, id: lock.jobId };
  const args = details === undefined ? [] : ["details", await store.sealing.seal(DETAILS, id, details)];
  const counts = { isTry: false, isMissed: false };
  return (await KEEP.run(lock.store.redis, fenceKeys(lock), { ...fenceArgs(lock), ...counts }, { args })) as
    | "kept"
    | ActivityDenied;
}

/** Counts a try that failed, or, with `missedBy`, one whose heartbeats that worker missed. */
export async function countTry(
  lock: ActivityLock,
  missedBy: string | undefined,
): Promise<"kept" | ActivityDenied> {
  const isMissed = missedBy !== undefined;
  const args = isMissed ? ["missedBy", missedBy] : [];
  const counts = { isTry: !isMissed, isMissed };
  return (await KEEP.run(lock.store.redis, fenceKeys(lock), { ...fenceArgs(lock), ...counts }, { args })) as
    | "kept"
    | ActivityDenied;
}

/**
 * Ends an activity: its entry goes into the run's journal, once, and the run is woken.
 * Keys: see `FENCE`. Arguments: those of `FENCE`, the `entry` as JSON, the `runId`, the `prefix` and `channel` of the namespace. Returns:
 * 'woken', 'noted' or an `ActivityDenied`. Called by `endActivity`. Fence: as `KEEP`.
 */
const END = new Script({
  keys: FENCE_KEYS,
  args: { ...FENCE_ARGS, entry: "text", runId: "text", prefix: "text", channel: "text" },
  lua: `${NOTIFY}${WAKE_RUN}${FENCE}
    redis.call('DEL', activity)
    redis.call('HSET', activity, 'ended', '1')
    redis.call('EXPIRE', activity, ${ENDED_TTL_SECONDS})
    return tellRun(runId, entry)
  `,
});

/** Ends an activity and its step. Everything after it (BullMQ's own completion) may be lost without harm. */
export async function endActivity(
  lock: ActivityLock,
  entry: EndedEntry,
): Promise<"woken" | "noted" | ActivityDenied> {
  const { prefix, channel } = lock.store.keys;
  const args = {
    ...fenceArgs(lock),
    entry: await entryText(lock.store, lock.runId, entry),
    runId: lock.runId,
    ...{ prefix, channel },
  };
  return (await END.run(lock.store.redis, fenceKeys(lock), args)) as "woken" | "noted" | ActivityDenied;
}

/**
 * Ends activities that nobody waits for any more; a worker that has one is told. Keys: none. Arguments: the `prefix` and
 * `channel` of the namespace, then job ids. Returns: nothing. Called by `cancelActivities`. Fence: none; what has ended stays.
 */
const CANCEL = new Script({
  keys: [],
  args: { prefix: "text", channel: "text" },
  moreArgs: "ids",
  lua: `${NOTIFY}
    for _, id in ipairs(ids) do
      local activity = prefix .. ':activity:' .. id
      if redis.call('HSETNX', activity, 'ended', '1') == 1 then
        redis.call('HDEL', activity, 'details')
        redis.call('EXPIRE', activity, ${ENDED_TTL_SECONDS})
        notify('cancel', id)
      end
    end
  `,
});

/** Ends activities that nobody waits for any more; their jobs are the caller's to remove. */
export async function cancelActivities({ redis, keys }: Store, jobIds: readonly string[]): Promise<void> {
  const { prefix, channel } = keys;
  await CANCEL.run(redis, {}, { prefix, channel }, { args: jobIds });
}

/** What stands of an activity before a try. */
export interface ActivityState {
  /** Nothing is to be done any more: it has ended, or its run has. */
  isOver: boolean;
  /** Failed tries. */
  tries: number;
  /** Tries without heartbeats. */
  missed: number;
  /** The worker of the last of them. */
  missedBy: string | undefined;
  /** Of the last heartbeat, as JSON. */
  details: string | undefined;
}

/** Returns what stands before a try. */
export async function readActivity(store: Store, jobId: string, runId: string): Promise<ActivityState> {
  const { redis, keys } = store;
  const pipeline = redis.pipeline().hgetall(keys.activity(jobId)).hget(keys.workflow(runId), "status");
  const [state, status] = (await repliesOf(pipeline)) as [Record<string, string>, string | null];
  const { ended, tries = "0", missed = "0", missedBy, details: kept } = state;
  const details = kept === undefined ? undefined : await store.sealing.open(DETAILS, jobId, kept);
  const isOver = ended !== undefined || status !== "running";
  return { isOver, tries: Number(tries), missed: Number(missed), missedBy, details };
}
