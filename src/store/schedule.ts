import { z } from "zod";
import { readStored } from "../shared/stored-data.ts";
import { repliesOf } from "./redis.ts";
import { clockOf } from "./redis-clock.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * A schedule: the hash `:schedule:<id>`; `:schedule:<id>:waiting`, the planned times of ticks that wait for an earlier run;
 * `:schedule:<id>:open`, the runs that were begun and have not ended; `:schedule:<id>:ticks`, what became of the last ticks.
 * `:schedules` is the sorted set of all ids. They stay until the schedule is deleted. That it ticks at all is BullMQ's
 * matter: a job scheduler of the same id in the queue `schedules`.
 *
 * | schedule | by               | who                                              |
 * |----------|------------------|--------------------------------------------------|
 * | none     | `putSchedule`    | a caller: active                                 |
 * | active   | `pauseSchedule`  | a caller: paused; its ticks do nothing           |
 * | paused   | `resumeSchedule` | a caller: active, its ticks count from now       |
 * | any      | `dropSchedule`   | a caller: none; runs that were begun go on       |
 *
 * | tick     | by           | who                                                                             |
 * |----------|--------------|---------------------------------------------------------------------------------|
 * | due      | `takeTicks`  | the worker that has the tick's job: missed, skipped, waiting or starting, for good |
 * | waiting  | `takeTicks`  | the same, when no earlier run is open: starting                                 |
 * | starting | `noteStart`  | the same or the next worker, after it has started the run: started, or failed   |
 *
 * A tick is decided once: by the script that moves `doneUntil` past its planned time. The run that it starts has an id made of
 * schedule and planned time, so that whoever finds it `starting` starts it again without harm.
 */

const KIND = "definition of schedule";
const count = z.coerce.number().default(0);
const json = z.string().transform((text): unknown => JSON.parse(text));

const scheduleRecordSchema = z.object({
  id: z.string(),
  /** What it starts and when, as `src/schedules` has it. */
  definition: json,
  digest: z.string(),
  /** Whose it is; absent: `default`. */
  tenant: z.string().optional(),
  createdAt: count,
  updatedAt: count,
  paused: z.stringbool().default(false),
  /** Ticks up to this time are decided; epoch milliseconds. */
  doneUntil: count,
  started: count,
  skipped: count,
  missed: count,
  failed: count,
});
export type ScheduleRecord = z.infer<typeof scheduleRecordSchema>;

export function scheduleKeys({ keys }: Pick<Store, "keys">, id: string) {
  return {
    schedule: keys.schedule(id),
    waiting: keys.scheduleWaiting(id),
    open: keys.scheduleOpen(id),
    ticks: keys.scheduleTicks(id),
  };
}
export const SCHEDULE_KEYS = ["schedule", "waiting", "open", "ticks"] as const;

/**
 * Writes a schedule, unless it stands so already. Keys: see `SCHEDULE_KEYS`; the index. Arguments: the `id`; its `tenant`, empty for the default one; digests of the definition and
 * of its times; the `definition` as JSON; the time `at`. Returns: 'taken' when it is another tenant's; 'same'; 'changed'; or 'retimed' when it is new or its times are.
 * Called by `putSchedule`. Fence: the digest.
 */
const PUT = new Script({
  keys: [...SCHEDULE_KEYS, "schedules"],
  args: { id: "text", tenant: "text", digest: "text", timing: "text", definition: "text", at: "number" },
  lua: `
    local standing = redis.call('HMGET', schedule, 'digest', 'timing')
    if standing[1] and (redis.call('HGET', schedule, 'tenant') or '') ~= tenant then return 'taken' end
    if standing[1] == digest then return 'same' end
    redis.call('HSET', schedule, 'id', id, 'digest', digest, 'timing', timing, 'definition', definition, 'updatedAt', at)
    if not standing[1] then
      redis.call('HSET', schedule, 'createdAt', at)
      if tenant ~= '' then redis.call('HSET', schedule, 'tenant', tenant) end
      redis.call('ZADD', schedules, at, id)
    end
    if standing[2] == timing then return 'changed' end
    redis.call('HSET', schedule, 'doneUntil', at)
    return 'retimed'
  `,
});

export async function putSchedule(
  store: Store,
  schedule: { id: string; tenant: string; digest: string; timing: string; definition: string },
): Promise<"taken" | "same" | "changed" | "retimed"> {
  const keys = { ...scheduleKeys(store, schedule.id), schedules: store.keys.schedules };
  const { sealing } = store;
  const digest = await sealing.markedDigest(schedule.digest);
  const definition = await sealing.seal(KIND, schedule.id, schedule.definition);
  return (await PUT.run(store.redis, keys, {
    ...schedule,
    digest,
    definition,
    at: await clockOf(store).fresh(),
  })) as "taken" | "same" | "changed" | "retimed";
}

/**
 * Pauses a schedule, or lets it go on. Keys: see `SCHEDULE_KEYS`. Arguments: whether it `isPaused` from now on; the time `at`. Returns: 1
 * when there is such a schedule. Called by `pauseSchedule`, `resumeSchedule`. Fence: that it was otherwise, so that a second
 * resume passes over no tick.
 */
const PAUSE = new Script({
  keys: SCHEDULE_KEYS,
  args: { isPaused: "flag", at: "number" },
  lua: `
    if redis.call('EXISTS', schedule) == 0 then return 0 end
    if isPaused then
      redis.call('HSET', schedule, 'paused', 'true')
    elseif redis.call('HDEL', schedule, 'paused') == 1 then
      redis.call('HSET', schedule, 'doneUntil', at)
    end
    return 1
  `,
});

/** Returns false when there is no such schedule. */
export async function pauseSchedule(store: Store, id: string, isPaused: boolean): Promise<boolean> {
  const at = await clockOf(store).fresh();
  return (await PAUSE.run(store.redis, scheduleKeys(store, id), { isPaused, at })) === 1;
}

/** Returns false when there is no such schedule. What it has begun goes on. */
export async function dropSchedule(store: Store, id: string): Promise<boolean> {
  const keys = Object.values(scheduleKeys(store, id));
  const [removed] = await repliesOf(
    store.redis
      .multi()
      .zrem(store.keys.schedules, id)
      .del(...keys),
  );
  return Number(removed) > 0;
}

/** Returns undefined when there is no such schedule. @throws GlueError `corrupt_data` */
export async function readSchedule(store: Store, id: string): Promise<ScheduleRecord | undefined> {
  const fields = await store.redis.hgetall(store.keys.schedule(id));
  if (fields.id === undefined) return undefined;
  const definition = await store.sealing.open(KIND, id, fields.definition ?? "");
  return readStored(`the record of schedule ${id}`, () =>
    scheduleRecordSchema.parse({ ...fields, definition }),
  );
}

/** Returns the ids of all schedules, the first created first. */
export function scheduleIds({ redis, keys }: Store): Promise<string[]> {
  return redis.zrange(keys.schedules, "0", "-1");
}
