import { z } from "zod";
import { readStored } from "../shared/stored-data.ts";
import { JOB_TIMES } from "./bullmq-internals.ts";
import { ANNOUNCE } from "./outbox.ts";
import { repliesOf } from "./redis.ts";
import { clockOf } from "./redis-clock.ts";
import { SCHEDULE_KEYS, scheduleKeys } from "./schedule.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * The ticks of a schedule, and the runs that they have begun; see `schedule.ts`.
 */

const MAX_TICKS_KEPT = 100;
/** A worker that waits for an earlier run's end says so at least this often. */
const POLLER_MS = 60_000;

const openRunSchema = z.object({
  state: z.enum(["starting", "started"]),
  plannedAt: z.number(),
  kind: z.string().default(""),
  /** The workflow's run, the completion's job, or the batch. */
  id: z.string().default(""),
  /** Of the completion's job. */
  queue: z.string().default(""),
});
export type OpenRun = z.infer<typeof openRunSchema>;

const tickSchema = z.object({
  outcome: z.enum(["started", "skipped", "missed", "failed"]),
  /** The first one, where it stands for several. */
  plannedAt: z.number(),
  /** When that was decided, or it was started. */
  at: z.number(),
  count: z.number().default(1),
  id: z.string().optional(),
  error: z.string().optional(),
});
export type TickRecord = z.infer<typeof tickSchema>;

/** Lua: `log(entry)` writes down what became of a tick, and tells the outbox. Keys: `TICK_KEYS`. */
const LOG = `${ANNOUNCE}
  local function log(entry)
    redis.call('LPUSH', ticks, cjson.encode(entry))
    redis.call('LTRIM', ticks, 0, ${MAX_TICKS_KEPT - 1})
    if redis.call('EXISTS', outbox) == 0 then return end
    local found = redis.call('HMGET', schedule, 'id', 'tenant')
    announce('schedule', found[1], found[2], entry.outcome, cjson.encode({
      plannedAt = entry.plannedAt, count = entry.count, startedId = entry.id, error = entry.error,
    }))
  end
`;
const TICK_KEYS = [...SCHEDULE_KEYS, "outbox"] as const;
const tickKeys = (store: Store, id: string) => ({ ...scheduleKeys(store, id), outbox: store.keys.outbox });

/** What `takeTicks` decides on. */
export interface DueTicks {
  /** The record's, as it was read. */
  doneUntil: number;
  /** The ticks up to here are those that are given. */
  until: number;
  /** Planned times that are to be run, the earliest first. */
  run: readonly number[];
  /** Whether they are caught up, one after the other: the policy of overlaps is for a tick on time. */
  areCaughtUp: boolean;
  missed: number;
  firstMissed: number;
  overlap: "skip" | "queue" | "allow";
  maxWaiting: number;
}

/**
 * Decides on the ticks that are due, and says which runs are to be started now.
 * Keys: see `TICK_KEYS`. Arguments: `prefix` of all keys; the `job` that asks; the time `at`; the fields of `DueTicks`, then the planned
 * times. Returns: {'gone'}, {'paused'}; else {how many ticks wait and the job has to ask again, planned times and keys of runs
 * that are to be started}. Called by `takeTicks`. Fence: `doneUntil`, which only one caller moves.
 */
const TAKE = new Script({
  keys: TICK_KEYS,
  args: {
    ...{
      prefix: "text",
      job: "text",
      at: "number",
      doneUntil: "text",
      decidedUntil: "text",
      areCaughtUp: "flag",
    },
    ...{ missed: "number", firstMissed: "number", overlap: "text", maxWaiting: "number" },
  },
  moreArgs: "due",
  lua: `${JOB_TIMES}${LOG}
    if redis.call('EXISTS', schedule) == 0 then return {'gone'} end
    if redis.call('HEXISTS', schedule, 'paused') == 1 then return {'paused'} end
    local function isOpen(run)
      if run.state == 'starting' then return true end
      if run.kind == 'workflow' then return redis.call('HGET', prefix .. ':workflow:' .. run.id, 'status') == 'running' end
      if run.kind == 'batch' then return redis.call('ZSCORE', prefix .. ':served-batches-open', run.id) ~= false end
      return redis.call('EXISTS', prefix .. ':result:' .. run.id) == 0 and isUnfinished(prefix .. ':' .. run.queue .. ':' .. run.id)
    end
    local starting = {}
    local runs = redis.call('HGETALL', open)
    for i = 1, #runs, 2 do
      local run = cjson.decode(runs[i + 1])
      if not isOpen(run) then redis.call('HDEL', open, runs[i])
      elseif run.state == 'starting' then starting[#starting + 1] = runs[i] end
    end
    local function isFree() return overlap == 'allow' or redis.call('HLEN', open) == 0 end
    local function drop(planned, counter)
      redis.call('HINCRBY', schedule, counter, 1)
      log({outcome = counter, plannedAt = tonumber(planned), at = at})
    end
    if redis.call('HGET', schedule, 'doneUntil') == doneUntil then
      redis.call('HSET', schedule, 'doneUntil', decidedUntil)
      if missed > 0 then
        redis.call('HINCRBY', schedule, 'missed', missed)
        log({outcome = 'missed', plannedAt = firstMissed, count = missed, at = at})
      end
      for _, planned in ipairs(due) do
        local isTaken = redis.call('ZCARD', waiting) > 0 or not isFree()
        if isTaken and overlap == 'skip' and not areCaughtUp then drop(planned, 'skipped')
        elseif redis.call('ZCARD', waiting) >= maxWaiting then drop(planned, 'skipped')
        else redis.call('ZADD', waiting, planned, planned) end
      end
    end
    while isFree() do
      local planned = redis.call('ZRANGE', waiting, 0, 0)[1]
      if not planned then break end
      redis.call('ZREM', waiting, planned)
      redis.call('HSET', open, planned, cjson.encode({state = 'starting', plannedAt = tonumber(planned)}))
      starting[#starting + 1] = planned
    end
    local left = redis.call('ZCARD', waiting)
    local poller = redis.call('HMGET', schedule, 'poller', 'polledAt')
    if poller[1] and poller[1] ~= job and tonumber(poller[2]) > at - ${POLLER_MS} then left = 0 end
    if left > 0 then redis.call('HSET', schedule, 'poller', job, 'polledAt', at)
    elseif poller[1] == job then redis.call('HDEL', schedule, 'poller', 'polledAt') end
    return {tostring(left), unpack(starting)}
  `,
});

export interface TakenTicks {
  /** Keys of runs that are to be started, and noted by `noteStart`. */
  starting: string[];
  /** Ticks wait for an earlier run, and this job has to look again. */
  isWaiting: boolean;
}

/** Returns undefined when the schedule is gone or paused. */
export async function takeTicks(
  store: Store,
  id: string,
  job: string,
  { run, ...due }: DueTicks,
): Promise<TakenTicks | undefined> {
  const at = clockOf(store).now();
  const args = { ...due, doneUntil: `${due.doneUntil}`, decidedUntil: `${due.until}`, job, at };
  const reply = await TAKE.run(
    store.redis,
    tickKeys(store, id),
    { ...args, prefix: store.keys.prefix },
    { args: run },
  );
  const [left, ...starting] = reply as string[];
  return left === "gone" || left === "paused" ? undefined : { starting, isWaiting: Number(left) > 0 };
}

/**
 * Notes a run that is about to be started out of turn. Keys: see `SCHEDULE_KEYS`. Arguments: the run's `key`; the `run` as JSON.
 * Returns: 1 when there is such a schedule. Called by `beginTrigger`. Fence: none; the key is the caller's own.
 */
const TRIGGER = new Script({
  keys: SCHEDULE_KEYS,
  args: { key: "text", run: "text" },
  lua: `
    if redis.call('EXISTS', schedule) == 0 then return 0 end
    redis.call('HSET', open, key, run)
    return 1
  `,
});

/** Returns false when there is no such schedule. */
export async function beginTrigger(store: Store, id: string, key: string, at: number): Promise<boolean> {
  const run = JSON.stringify({ state: "starting", plannedAt: at });
  return (await TRIGGER.run(store.redis, scheduleKeys(store, id), { key, run })) === 1;
}

/**
 * Notes that a run was started, or cannot be. Keys: see `TICK_KEYS`. Arguments: the run's `key`; the `run` as JSON or nothing; the `id`
 * of what was started; an `error`; the time `at`. Returns: 1 when this call noted it. Called by `noteStart`. Fence: that it is
 * `starting`.
 */
const NOTE = new Script({
  keys: TICK_KEYS,
  args: { key: "text", run: "text", id: "text", error: "text", at: "number" },
  lua: `${LOG}
    local standing = redis.call('HGET', open, key)
    if not standing or cjson.decode(standing).state ~= 'starting' then return 0 end
    local plannedAt = cjson.decode(standing).plannedAt
    if run == '' then
      redis.call('HDEL', open, key)
      redis.call('HINCRBY', schedule, 'failed', 1)
      log({outcome = 'failed', plannedAt = plannedAt, at = at, error = error})
    else
      local noted = cjson.decode(run)
      noted.plannedAt = plannedAt
      redis.call('HSET', open, key, cjson.encode(noted))
      redis.call('HINCRBY', schedule, 'started', 1)
      log({outcome = 'started', plannedAt = plannedAt, at = at, id = id})
    end
    return 1
  `,
});

export async function noteStart(
  store: Store,
  id: string,
  key: string,
  outcome: { run: Omit<OpenRun, "state" | "plannedAt"> } | { error: string },
): Promise<void> {
  const run = "run" in outcome ? JSON.stringify({ state: "started", ...outcome.run }) : "";
  const error = "error" in outcome ? outcome.error : "";
  const started = "run" in outcome ? outcome.run.id : "";
  const at = clockOf(store).now();
  await NOTE.run(store.redis, tickKeys(store, id), { key, run, id: started, error, at });
}

/** Returns what it has under way, the ticks that wait, and what became of the latest ones, the last first. */
export async function readScheduleActivity(
  store: Store,
  id: string,
): Promise<{ open: OpenRun[]; waiting: number[]; ticks: TickRecord[] }> {
  const { open, waiting, ticks } = scheduleKeys(store, id);
  const [runs, times, entries] = await Promise.all([
    store.redis.hvals(open),
    store.redis.zrange(waiting, "0", "-1"),
    store.redis.lrange(ticks, 0, -1),
  ]);
  const stored = readStored(`the ticks of schedule ${id}`, () => ({
    open: runs.map((run) => openRunSchema.parse(JSON.parse(run))),
    ticks: entries.map((entry) => tickSchema.parse(JSON.parse(entry))),
  }));
  return { ...stored, open: await withoutEnded(store, stored.open), waiting: times.map(Number) };
}

/** The record of a schedule learns of an end only with its next tick. */
async function withoutEnded({ redis, keys }: Store, open: readonly OpenRun[]): Promise<OpenRun[]> {
  const started = open.filter(({ state }) => state === "started");
  const pipeline = redis.pipeline();
  for (const { kind, id } of started) {
    if (kind === "workflow") pipeline.hget(keys.workflow(id), "status");
    else if (kind === "batch") pipeline.zscore(keys.openServedBatches, id);
    else pipeline.exists(keys.result(id));
  }
  const found = await repliesOf(pipeline);
  return started.filter(({ kind }, n) =>
    kind === "batch" ? found[n] !== null : found[n] === "running" || found[n] === 0,
  );
}
