import { z } from "zod";
import { WORKFLOW_QUEUE } from "../shared/catalog.ts";
import { errorRecordSchema } from "../shared/error-record.ts";
import { childrenKey, jobLockKey, SLEEP, SLEEP_KEYS, sleepKeys } from "./bullmq-internals.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";
import { NOTIFY } from "./topics.ts";

/*
 * The record of a run: the hash `:workflow:<runId>`, kept for 30 days after the run's end, or after its deadline; and
 * `:workflow-runs`, the sorted set of all runs' ids by the time of their start.
 *
 * | state                         | how the run's job stands       | what changes it                                      |
 * |-------------------------------|--------------------------------|------------------------------------------------------|
 * | none                          | –                              | `startRun`: running                                  |
 * | `running`                     | waits for a worker             | a worker takes the job                               |
 * | `running`                     | active, with the worker's lock | `suspendRun`: the job sleeps; `finishRun`: succeeded |
 * |                               |                                | or failed; `blockRun` says that the code does not    |
 * |                               |                                | fit, `unblockRun` that it does again                 |
 * | `running`                     | sleeps, perhaps until a time   | `notifyRun` (run-journal.ts) or its time: it waits   |
 * | `succeeded` `failed`          | BullMQ completes it            | –                                                    |
 * | `cancelled`                   | as before, until a worker sees | – (`notifyRun` with the end's fields, in any state   |
 * |                               | it                             | of the job)                                          |
 */

/** How long an ended run can be read and forked. */
const RUN_TTL_SECONDS = 30 * 86_400;
/** A run that names no deadline must end within this time; none may have more. */
export const MAX_DEADLINE_MS = 30 * 86_400_000;

/** The place at which a fork leaves what it has from its origin. */
const forkPointSchema = z.object({
  fromStep: z.string(),
  /** How many entries it began with. */
  entries: z.number(),
  /** What random numbers derive from after that place. */
  seed: z.string(),
});
export type ForkPoint = z.infer<typeof forkPointSchema>;

const json = z.string().transform((text): unknown => JSON.parse(text));
const count = z.coerce.number().default(0);

/** A run as it stands in its Redis hash (all fields are strings there). Times are epoch milliseconds. */
const runRecordSchema = z.object({
  id: z.string(),
  workflow: z.string(),
  /** Of the code that began it. */
  version: z.coerce.number(),
  status: z.enum(["running", "succeeded", "failed", "cancelled"]),
  /** JSON, or a blob of it. */
  input: json,
  /** Of workflow and input, and of a fork's changes: the same run id with another one is an error. */
  digest: z.string(),
  /** What random numbers of the run derive from. */
  seed: z.string(),
  /** Its forks from run to run, the first one first. */
  forks: json.pipe(z.array(forkPointSchema)).default([]),
  priority: count,
  /** As of a completion's payload: begun inside tools; its steps' jobs are too. */
  nesting: z.coerce.number().optional(),
  /** Of calls that name no model: a part of the question, so it must not change with the worker. */
  defaultModel: json.pipe(z.union([z.string(), z.array(z.string())])),
  createdAt: count,
  deadlineAt: count,
  finishedAt: z.coerce.number().optional(),
  output: json.optional(),
  error: json.pipe(errorRecordSchema).optional(),
  /** Why no worker can go on with it: its code does not fit the journal. */
  blocked: json.pipe(errorRecordSchema).optional(),
  metadata: json.pipe(z.record(z.string(), z.unknown())).optional(),
  /** Of its ended steps and child runs. */
  promptTokens: count,
  completionTokens: count,
  costUsd: count,
  /** Ended steps that nobody knows the cost of. */
  unpriced: count,
  /** A child's parent, and the step it is there. */
  parentRunId: z.string().optional(),
  parentStep: z.string().optional(),
});
export type RunRecord = z.infer<typeof runRecordSchema>;

/** Whether somebody gave it a deadline. */
export function isBounded({ createdAt, deadlineAt }: RunRecord): boolean {
  return deadlineAt - createdAt < MAX_DEADLINE_MS;
}

/** Returns the run's record; undefined when there is none (any more). */
export async function readRun(store: Store, runId: string): Promise<RunRecord | undefined> {
  return parseRun(await store.redis.hgetall(store.keys.workflow(runId)));
}

function parseRun(fields: Record<string, string>): RunRecord | undefined {
  return fields.id === undefined ? undefined : runRecordSchema.parse(fields);
}

/**
 * Writes the record of a new run. The first one under an id stays; who comes later learns what it is.
 * Keys: the record, the journal, the index of runs. Arguments: the run's id, the time `at` of its start, the record's
 * `ttlSeconds`, `fieldCount`, then so many fields and values, then journal entries. Returns: {digest, status} of the
 * record that stands. Called by `beginRun`, for a caller or for the worker of a parent run. Fence: the id.
 */
const START = new Script({
  keys: ["run", "journal", "runs"],
  args: { id: "text", at: "number", ttlSeconds: "number", fieldCount: "number" },
  moreArgs: "fieldsAndEntries",
  lua: `
    if redis.call('EXISTS', run) == 0 then
      redis.call('HSET', run, unpack(fieldsAndEntries, 1, fieldCount))
      redis.call('EXPIRE', run, ttlSeconds)
      for i = fieldCount + 1, #fieldsAndEntries do redis.call('RPUSH', journal, fieldsAndEntries[i]) end
      redis.call('ZADD', runs, at, id)
      redis.call('ZREMRANGEBYSCORE', runs, '-inf', at - 3 * ttlSeconds * 1000)
    end
    return redis.call('HMGET', run, 'digest', 'status')
  `,
});

/** A run's record as it begins. */
export interface NewRun {
  id: string;
  createdAt: number;
  deadlineAt: number;
  [field: string]: string | number;
}

/**
 * Writes the record of a run, unless there is one under its id. Returns digest and status of the one that stands.
 * @param entries journal entries, as JSON, that a fork begins with
 */
export async function beginRun(
  { redis, keys }: Store,
  run: NewRun,
  entries: readonly string[],
): Promise<{ digest: string; status: string }> {
  const { id, createdAt: at, deadlineAt } = run;
  const fields = Object.entries(run).flat();
  const ttlSeconds = RUN_TTL_SECONDS + Math.ceil(Math.max(0, deadlineAt - at) / 1000);
  const [digest = "", status = ""] = (await START.run(
    redis,
    { run: keys.workflow(id), journal: keys.workflowJournal(id), runs: keys.workflowRuns },
    { id, at, ttlSeconds, fieldCount: fields.length },
    { args: [...fields, ...entries] },
  )) as string[];
  return { digest, status };
}

/** A worker's hold on a run: its job's lock. */
export interface RunLock {
  store: Store;
  runId: string;
  token: string;
}

/** Another worker has the run, or the run has ended. */
export type Denied = "fenced" | "over";

export const FENCE_KEYS = ["lock", "run", "journal"] as const;

/** Lua: only the holder of the lock of a running run gets past these lines. Keys: `FENCE_KEYS`. Argument: `token`. */
export const FENCE = `
  if redis.call('GET', lock) ~= token then return 'fenced' end
  if redis.call('HGET', run, 'status') ~= 'running' then return 'over' end
`;

export function fenceKeys({ store, runId }: RunLock) {
  const { keys } = store;
  const lock = jobLockKey(store, WORKFLOW_QUEUE, runId);
  return { lock, run: keys.workflow(runId), journal: keys.workflowJournal(runId) };
}

/**
 * Puts the run to sleep unless something has happened that its function has not seen. The job counts as delayed when
 * it has a time to wake.
 * Keys: see `FENCE` and `SLEEP`. Arguments: the lock's `token`; the entries that the function has `seen`; the run's id;
 * `at`, and `wakeAt` or nothing, in epoch milliseconds; fields of the record. Returns: 'suspended'; 'news' when there
 * are more entries; 'rewound' when there are fewer; or a `Denied`. Called by `suspendRun`, at the end of a turn.
 * Fence: the lock of the run's job, and that the run is running.
 */
const SUSPEND = new Script({
  keys: [...FENCE_KEYS, ...SLEEP_KEYS],
  args: { token: "text", seen: "number", id: "text", at: "number", wakeAt: "number?" },
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
  const { store, runId: id, token } = lock;
  const outcome = await SUSPEND.run(
    store.redis,
    { ...fenceKeys(lock), ...sleepKeys(store, WORKFLOW_QUEUE) },
    { token, seen, id, at: Date.now(), wakeAt },
    { args: fields },
  );
  if (outcome === "rewound") throw new Error("the run's journal has lost its end");
  return outcome as "suspended" | "news" | Denied;
}

/**
 * Makes a run's end final. Steps that nobody waits for any more would keep BullMQ from completing the job: it forgets
 * them.
 * Keys: see `FENCE`; the job's children. Arguments: the lock's `token`, the record's `ttlSeconds` from now, the run's id,
 * the channel, fields of the record. Returns: 'finished' or a `Denied`. Called by `finishRun`, at the run's last turn.
 * Fence: the lock of the run's job, and that the run is running.
 */
const FINISH = new Script({
  keys: [...FENCE_KEYS, "children"],
  args: { token: "text", ttlSeconds: "number", id: "text", channel: "text" },
  moreArgs: "fields",
  lua: `${FENCE}${NOTIFY}
    redis.call('HSET', run, unpack(fields))
    redis.call('HDEL', run, 'blocked')
    redis.call('EXPIRE', run, ttlSeconds)
    redis.call('EXPIRE', journal, ttlSeconds)
    redis.call('DEL', children)
    notify('result', id)
    return 'finished'
  `,
});

/** Makes a run's end final. Everything after it (BullMQ's own completion) may be lost without harm. */
export async function finishRun(lock: RunLock, fields: readonly string[]): Promise<"finished" | Denied> {
  const { store, runId: id, token } = lock;
  const outcome = await FINISH.run(
    store.redis,
    { ...fenceKeys(lock), children: childrenKey(store, WORKFLOW_QUEUE, id) },
    { token, ttlSeconds: RUN_TTL_SECONDS, id, channel: store.keys.channel },
    { args: fields },
  );
  return outcome as "finished" | Denied;
}

/**
 * Writes down why no worker can go on with the run, and tells who waits for it.
 * Keys: see `FENCE`. Arguments: the lock's `token`, the `error` as JSON, the run's id, the channel. Returns: 'blocked' or
 * a `Denied`. Called by `blockRun`. Fence: the lock of the run's job, and that the run is running.
 */
const BLOCK = new Script({
  keys: FENCE_KEYS,
  args: { token: "text", error: "text", id: "text", channel: "text" },
  lua: `${FENCE}${NOTIFY}
    redis.call('HSET', run, 'blocked', error)
    notify('result', id)
    return 'blocked'
  `,
});

/** Says why no worker could go on with the run, until one can. */
export async function blockRun(lock: RunLock, error: string): Promise<void> {
  const { store, runId: id, token } = lock;
  await BLOCK.run(store.redis, fenceKeys(lock), { token, error, id, channel: store.keys.channel });
}

/** Says that a worker goes on with the run. */
export async function unblockRun({ store, runId }: RunLock): Promise<void> {
  await store.redis.hdel(store.keys.workflow(runId), "blocked");
}

/** Returns the ids of the latest runs, the last one first. */
export function latestRuns({ redis, keys }: Store, limit: number): Promise<string[]> {
  return redis.zrevrange(keys.workflowRuns, 0, limit - 1);
}

/** Returns the ids of at most `limit` runs that were started before a time, in epoch milliseconds. */
export function runsStartedBefore({ redis, keys }: Store, at: number, limit: number): Promise<string[]> {
  return redis.zrangebyscore(keys.workflowRuns, "-inf", at, "LIMIT", 0, limit);
}

/** Takes a run out of the index: it has ended. Its record stays. */
export async function unlistRun({ redis, keys }: Store, runId: string): Promise<void> {
  await redis.zrem(keys.workflowRuns, runId);
}
