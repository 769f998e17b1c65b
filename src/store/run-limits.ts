import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";
import { WAKE_RUN } from "./wake-run.ts";

/*
 * The limits of workflows. A limit has a name, `<kind>:<workflow>:<key>`, and what there is of it lies at
 * `:workflow-limit:<name>` and the part of it:
 *
 * | kind          | part       | content                                                            | life                     |
 * |---------------|------------|--------------------------------------------------------------------|--------------------------|
 * | `concurrency` | `:holders` | sorted set: ids of the runs that have a place, by when they got it | an entry: until its end  |
 * | `concurrency` | `:waiting` | sorted set: the time, `:` and the id of those that wait for one, by priority and time | the same |
 * | `throttle`    | `:starts`  | list: the times at which the latest runs begin                     | the period after the last |
 * | `debounce`    | `:run`     | id of the run that begins after the quiet time                     | until it begins, 62 d    |
 * | `singleton`   | `:run`     | id of the run that goes on                                         | until its end, 62 d      |
 *
 * `:workflow-limits` is a hash: the name of each limit of concurrency that runs may wait for → how many places it has.
 *
 * | a run                    | by                                                                                             |
 * |--------------------------|------------------------------------------------------------------------------------------------|
 * | begins later, or another | `START` (run-record.ts): in the script that writes its record                                  |
 * | takes part in that one   |                                                                                                |
 * | gets a place, or waits   | `ENTER` (run-turn.ts), the worker that has it; or the one whose end makes room for it          |
 * | gives its place away     | `FINISH`, `TELL` (run-journal.ts): in the script that ends it                                  |
 * | is retried               | `REVIVE` (run-record.ts): it waits for a place again                                           |
 *
 * What Redis lost with its last second, or an operator removed, `healLimit` puts right.
 */

const POINTER_TTL_SECONDS = 62 * 86_400;

/**
 * Lua: the parts of a limit, `admit(name, at)`, which gives its free places to those that wait, and `leaveLimits(id, at)`, which a
 * run's end calls. Needs a local `prefix` and `WAKE_RUN`. Who waits has a member of 16 digits, `:` and its id.
 */
export const LEAVE_LIMITS = `
  local function partOf(name, part) return prefix .. ':workflow-limit:' .. name .. ':' .. part end
  local function runKey(id) return prefix .. ':workflow:' .. id end
  local function admit(name, at)
    local limits = prefix .. ':workflow-limits'
    local limit = tonumber(redis.call('HGET', limits, name) or '')
    if not limit then return end
    while redis.call('ZCARD', partOf(name, 'holders')) < limit do
      local first = redis.call('ZPOPMIN', partOf(name, 'waiting'))
      if not first[1] then
        redis.call('HDEL', limits, name)
        return
      end
      local id = string.sub(first[1], 18)
      if redis.call('HGET', runKey(id), 'status') == 'running' then
        redis.call('ZADD', partOf(name, 'holders'), at, id)
        wakeRun(id)
      end
    end
  end
  local function forgetPointer(name, id)
    if redis.call('GET', partOf(name, 'run')) == id then redis.call('DEL', partOf(name, 'run')) end
  end
  local function leaveLimits(id, at)
    local place, waitsAs, singleton, debounce =
      unpack(redis.call('HMGET', runKey(id), 'place', 'waitsAs', 'singleton', 'debounce'))
    if singleton then forgetPointer(singleton, id) end
    if debounce then forgetPointer(debounce, id) end
    if not place then return end
    redis.call('ZREM', partOf(place, 'holders'), id)
    redis.call('ZREM', partOf(place, 'waiting'), waitsAs or '')
    admit(place, at)
  end
`;

/**
 * Lua: `enterLimit(id, name, limit, priority, at)` returns whether the run has a place; one that has none waits for it. Needs
 * `LEAVE_LIMITS`.
 */
export const ENTER_LIMIT = `
  local function dropEnded(name)
    for _, id in ipairs(redis.call('ZRANGE', partOf(name, 'holders'), 0, 999)) do
      if redis.call('HGET', runKey(id), 'status') ~= 'running' then redis.call('ZREM', partOf(name, 'holders'), id) end
    end
  end
  local function enterLimit(id, name, limit, priority, at)
    if redis.call('ZSCORE', partOf(name, 'holders'), id) then return true end
    if redis.call('ZCARD', partOf(name, 'holders')) >= limit then dropEnded(name) end
    redis.call('HSET', prefix .. ':workflow-limits', name, limit)
    local waitsAs = redis.call('HGET', runKey(id), 'waitsAs')
    if not waitsAs then
      local time = redis.call('TIME')
      waitsAs = string.format('%010d%06d:%s', time[1], time[2], id)
      redis.call('HSET', runKey(id), 'place', name, 'waitsAs', waitsAs)
    end
    redis.call('ZADD', partOf(name, 'waiting'), priority, waitsAs)
    admit(name, at)
    return redis.call('ZSCORE', partOf(name, 'holders'), id) ~= false
  end
`;

/** How a new run is to begin. */
export interface StartLimits {
  /** Its name, the runs that may begin in a period, and the period in milliseconds. */
  throttle?: { name: string; limit: number; periodMs: number };
  /** Its name, and the quiet time in milliseconds. */
  debounce?: { name: string; periodMs: number };
  /** Its name, and whether a second run is refused; else its start stands for the run that goes on. */
  singleton?: { name: string; refuses: boolean };
}

/**
 * Lua: what stands in the way of a new run, and when it begins. `standIn(id)` returns the id of the run that its start
 * stands for, and `joined` or `debounced`; `beginsAt(id, at)` when it begins, or nil: at once. Needs the arguments
 * `START_LIMIT_ARGS` and `LEAVE_LIMITS`.
 */
export const START_LIMITS = `
  local function isPending(id)
    local status, begunAt = unpack(redis.call('HMGET', runKey(id), 'status', 'begunAt'))
    return status == 'running' and not begunAt
  end
  local function standIn(id)
    if debounce ~= '' then
      local pending = redis.call('GET', partOf(debounce, 'run'))
      if pending and isPending(pending) and (pending == id or redis.call('EXISTS', runKey(id)) == 0) then
        return pending, 'debounced'
      end
    end
    if singleton ~= '' and redis.call('EXISTS', runKey(id)) == 0 then
      local other = redis.call('GET', partOf(singleton, 'run'))
      if other and other ~= id and redis.call('HGET', runKey(other), 'status') == 'running' then return other, 'joined' end
    end
  end
  local function beginsAt(id, at)
    if singleton ~= '' then redis.call('SET', partOf(singleton, 'run'), id, 'EX', ${POINTER_TTL_SECONDS}) end
    if debounce ~= '' then
      redis.call('SET', partOf(debounce, 'run'), id, 'EX', ${POINTER_TTL_SECONDS})
      return at + debounceMs
    end
    if throttle == '' then return nil end
    local starts = partOf(throttle, 'starts')
    local begin = at
    local last = redis.call('LINDEX', starts, -1)
    if last then begin = math.max(begin, tonumber(last)) end
    local earlier = redis.call('LINDEX', starts, -throttleLimit)
    if earlier then begin = math.max(begin, tonumber(earlier) + throttleMs) end
    redis.call('RPUSH', starts, begin)
    redis.call('LTRIM', starts, -throttleLimit, -1)
    redis.call('PEXPIRE', starts, begin - at + throttleMs)
    if begin > at then return begin end
  end
`;

export const START_LIMIT_ARGS = {
  singleton: "text",
  debounce: "text",
  debounceMs: "number?",
  throttle: "text",
  throttleLimit: "number?",
  throttleMs: "number?",
} as const;

export function startLimitArgs({ throttle, debounce, singleton }: StartLimits) {
  return {
    singleton: singleton?.name ?? "",
    debounce: debounce?.name ?? "",
    debounceMs: debounce?.periodMs,
    throttle: throttle?.name ?? "",
    throttleLimit: throttle?.limit,
    throttleMs: throttle?.periodMs,
  };
}

/** Where a run stands that waits for a place. */
export interface PlaceInLine {
  /** The name of the limit. */
  limit: string;
  /** The runs that have its places. */
  holders: number;
  /** The runs that come before it. */
  before: number;
}

/** Returns where the run stands in line; undefined when it waits for no place. */
export async function placeInLine(
  { redis, keys }: Store,
  { place, waitsAs = "" }: { place?: string | undefined; waitsAs?: string | undefined },
): Promise<PlaceInLine | undefined> {
  if (place === undefined) return undefined;
  const [before, holders] = await Promise.all([
    redis.zrank(keys.workflowLimit(place, "waiting"), waitsAs),
    redis.zcard(keys.workflowLimit(place, "holders")),
  ]);
  return before === null ? undefined : { limit: place, holders, before };
}

/** Returns how many runs of a workflow wait for a place, under how many keys. */
export async function waitingForPlaces(
  { redis, keys }: Store,
  workflow: string,
): Promise<{ runs: number; keys: number }> {
  const names = (await redis.hkeys(keys.workflowLimits)).filter((name) =>
    name.startsWith(`concurrency:${workflow}:`),
  );
  const pipeline = redis.pipeline();
  for (const name of names) pipeline.zcard(keys.workflowLimit(name, "waiting"));
  const counts = ((await pipeline.exec()) ?? [])
    .map(([, count]) => Number(count))
    .filter((count) => count > 0);
  return { runs: counts.reduce((sum, count) => sum + count, 0), keys: counts.length };
}

/** Returns the names of about `count` limits of concurrency that runs may wait for, and the cursor of the next ones; "0" is the first. */
export async function someLimits(
  { redis, keys }: Store,
  cursor: string,
  count: number,
): Promise<{ names: string[]; cursor: string }> {
  const [next, entries] = await redis.hscan(keys.workflowLimits, cursor, "COUNT", count);
  return { names: entries.filter((_, n) => n % 2 === 0), cursor: next };
}

/**
 * Gives the places of runs that are over, or that Redis lost, to those that wait. Keys: none. Arguments: the `name` of the limit, the time `at`,
 * `prefix` and `channel` of the namespace. Returns: the ids of at most 100 runs with a place whose job BullMQ no longer has. Called by `healLimit`,
 * for the sweeper. Fence: none; only what no longer runs loses its place.
 */
const HEAL = new Script({
  keys: [],
  args: { name: "text", at: "number", prefix: "text", channel: "text" },
  lua: `${NOTIFY}${WAKE_RUN}${LEAVE_LIMITS}${ENTER_LIMIT}
    dropEnded(name)
    admit(name, at)
    local jobless = {}
    for _, id in ipairs(redis.call('ZRANGE', partOf(name, 'holders'), 0, 99)) do
      local queue = redis.call('HGET', runKey(id), 'queue')
      if queue and redis.call('EXISTS', prefix .. ':' .. queue .. ':' .. id) == 0 then jobless[#jobless + 1] = id end
    end
    return jobless
  `,
});

/** Puts a limit right. Returns ids of runs that have a place of it and no job. */
export async function healLimit({ redis, keys }: Store, name: string, at: number): Promise<string[]> {
  const { prefix, channel } = keys;
  return (await HEAL.run(redis, {}, { name, at, prefix, channel })) as string[];
}
