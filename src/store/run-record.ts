import { z } from "zod";
import { type BlobRef, WORKFLOW_QUEUE } from "../shared/catalog.ts";
import { errorRecordSchema } from "../shared/error-record.ts";
import { RUN_TTL_SECONDS } from "../shared/retention.ts";
import { readStored, storedFault } from "../shared/stored-data.ts";
import { ownerFields } from "../shared/tenant.ts";
import { providerOptionsSchema } from "../shared/wire-options.ts";
import { inlineOrBlob } from "./blobs.ts";
import { openRunFields } from "./run-fields.ts";
import { Script } from "./script.ts";
import { waitSchemasSchema } from "./signal-schemas.ts";
import type { Store } from "./store.ts";

/*
 * The record of a run: the hash `:workflow:<runId>`, kept for 30 days after the run's end, a child's at least as long as its parent runs; while
 * it runs its life is counted from its deadline, which ends it. `:workflow-runs` is the sorted set of the ids of runs with a record by
 * the time of their start.
 *
 * | state                         | how the run's job stands       | what changes it                                      |
 * |-------------------------------|--------------------------------|------------------------------------------------------|
 * | none                          | –                              | `startRun`: running                                  |
 * | `running`                     | waits for a worker             | a worker takes the job                               |
 * | `running`                     | active, with the worker's lock | `suspendRun`: the job sleeps; `finishRun`: succeeded |
 * |                               |                                | or failed; `blockRun` says that the code does not    |
 * |                               |                                | fit, `unblockRun` that it does again                 |
 * | `running`                     | sleeps, perhaps until a time   | `notifyRun` (run-journal.ts) or its time: it waits   |
 * | `succeeded`                   | BullMQ completes it            | –                                                    |
 * | `running`                     | active, with the worker's lock | `continueRun` (run-chain.ts): running, from its      |
 * |                               |                                | beginning, with another input                        |
 * | `failed`                      | BullMQ fails it                | `reviveRun`: running, without the failed step        |
 * | `cancelled`                   | as before, until a worker sees | – (`notifyRun` with the end's fields, in any state   |
 * |                               | it                             | of the job)                                          |
 */

/** A run, or a part of it, that names no deadline must end within this time. */
export const DEFAULT_DEADLINE_MS = 30 * 86_400_000;
export const MAX_DEADLINE_MS = 10 * 365 * 86_400_000;
/** How long what a run has beside its record lives after the deadline of a usual run. */
const PART_TTL_SECONDS = 32 * 86_400;

/** The place at which a fork leaves what it has from its origin. */
const forkPointSchema = z.object({
  fromStep: z.string(),
  /** How many entries it began with. */
  entries: z.number(),
  /** What random numbers derive from after that place. */
  seed: z.string(),
});
export type ForkPoint = z.infer<typeof forkPointSchema>;

/** A part of a run, up to where it went on as new. */
const chainLinkSchema = z.object({ startedAt: z.number(), finishedAt: z.number(), version: z.number() });
export type ChainLink = z.infer<typeof chainLinkSchema>;

const sumsSchema = z.object({
  promptTokens: z.number(),
  completionTokens: z.number(),
  costUsd: z.number(),
  unpriced: z.number(),
});

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
  /** Whether input and output have tags of types (see `serialize.ts`). */
  inputTyped: z.stringbool().default(false),
  outputTyped: z.stringbool().default(false),
  /** Of workflow and input, and of a fork's changes: the same run id with another one is an error. */
  digest: z.string(),
  /** That its job is in. */
  queue: z.string().default(WORKFLOW_QUEUE),
  /** What random numbers of the run derive from. */
  seed: z.string(),
  /** How often it was let go on after it had failed. */
  retries: count,
  ...ownerFields,
  /** The trace that its start belongs to. */
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  /** By which lists find it. */
  tags: json.pipe(z.array(z.string())).default([]),
  /** How often it went on as new, with an empty journal and another input. */
  continued: count,
  /** When it did so last. */
  continuedAt: z.coerce.number().optional(),
  /** The parts before the present one, the latest 100. */
  chain: json.pipe(z.array(chainLinkSchema)).default([]),
  /** What steps of these parts used. */
  carried: json.pipe(sumsSchema).optional(),
  /** Its forks from run to run, the first one first. */
  forks: json.pipe(z.array(forkPointSchema)).default([]),
  priority: count,
  /** As of a completion's payload: begun inside tools; its steps' jobs are too. */
  nesting: z.coerce.number().optional(),
  /** Of calls that name no model: a part of the question, so it must not change with the worker. */
  defaultModel: json.pipe(z.union([z.string(), z.array(z.string())])),
  /** What its calls say to their providers, beside their own words. */
  providerOptions: json.pipe(providerOptionsSchema).optional(),
  createdAt: count,
  deadlineAt: count,
  /** Whether somebody gave it a deadline; absent of older runs, and of those of less than the usual time. */
  bounded: z.stringbool().optional(),
  finishedAt: z.coerce.number().optional(),
  output: json.optional(),
  error: json.pipe(errorRecordSchema).optional(),
  /** Why no worker can go on with it: its code does not fit the journal. */
  blocked: json.pipe(errorRecordSchema).optional(),
  /** The ids of the workers whose code that is. */
  unfit: json.pipe(z.array(z.string())).default([]),
  metadata: json.pipe(z.record(z.string(), z.unknown())).optional(),
  /** What it waited for when it last fell asleep, for people. */
  waits: json.pipe(z.array(z.string())).default([]),
  /** Of its waits for signals then, by step: what the data have to fit, where the wait alone says so. */
  waitSchemas: json.pipe(waitSchemasSchema).default({}),
  /** The jobs of the first model calls that it waited for then. */
  calls: json.pipe(z.array(z.string())).default([]),
  /** The names of the activities that it waited for then. */
  activities: json.pipe(z.array(z.string())).default([]),
  /** Its limits, by name: the one whose place it has or waits for, and as what it waits; those of its start. */
  place: z.string().optional(),
  waitsAs: z.string().optional(),
  singleton: z.string().optional(),
  debounce: z.string().optional(),
  /** No worker begins with it before. */
  startAt: z.coerce.number().optional(),
  /** When it was past its limits; absent without any. */
  begunAt: z.coerce.number().optional(),
  /** Local work that takes its time. */
  local: json
    .pipe(z.array(z.object({ step: z.string(), startedAt: z.number(), attempt: z.number() })))
    .default([]),
  /** Of its ended steps and child runs. */
  promptTokens: count,
  completionTokens: count,
  costUsd: count,
  /** Ended steps that nobody knows the cost of. */
  unpriced: count,
  /** Ended steps whose tokens, and so their cost, are partly a guess. */
  estimated: count,
  /** A child's parent, and the step it is there. */
  parentRunId: z.string().optional(),
  parentStep: z.string().optional(),
});
export type RunRecord = z.infer<typeof runRecordSchema>;

/** Whether somebody gave it a deadline. */
export function isBounded({
  createdAt,
  deadlineAt,
  bounded = deadlineAt - createdAt < DEFAULT_DEADLINE_MS,
}: Pick<RunRecord, "createdAt" | "deadlineAt"> & { bounded?: boolean | undefined }): boolean {
  return bounded;
}

/**
 * Returns how long a part of a run has to live from `now` on, in seconds, so that the run has it up to its deadline: results of
 * its steps, and values in blobs.
 */
export function partTtlSeconds(deadlineAt: number, now: number): number {
  return PART_TTL_SECONDS + Math.ceil(Math.max(0, deadlineAt - now - DEFAULT_DEADLINE_MS) / 1000);
}

/** As `inlineOrBlob`, for a value that a run has up to its deadline; that of its record when it is not given. */
export function inlineOrRunBlob<T>(
  store: Store,
  runId: string,
  value: T,
  deadlineAt?: number,
): Promise<T | BlobRef> {
  const standing = async () => Number(await store.redis.hget(store.keys.workflow(runId), "deadlineAt"));
  const ttlSeconds = async () => partTtlSeconds(deadlineAt ?? (await standing()), Date.now());
  return inlineOrBlob(store, runId, value, ttlSeconds);
}

function recordOf(runId: string): string {
  return `the record of run ${runId}`;
}

/** Returns the run's record; undefined when there is none (any more). @throws GlueError `corrupt_data` */
export async function readRun(store: Store, runId: string): Promise<RunRecord | undefined> {
  const what = recordOf(runId);
  const stored = await store.redis.hgetall(store.keys.workflow(runId)).catch((error) => {
    throw storedFault(what, error);
  });
  if (stored.id === undefined) return undefined;
  const fields = await openRunFields(store, runId, stored);
  return readStored(what, () => runRecordSchema.parse(fields));
}

/** Returns the parent of a run and the step that the run is there, also of a record that `readRun` cannot read. */
export async function parentOf(
  { redis, keys }: Store,
  id: string,
): Promise<{ runId: string; step: string } | undefined> {
  const [runId, step] = await redis.hmget(keys.workflow(id), "parentRunId", "parentStep");
  return runId ? { runId, step: step ?? "" } : undefined;
}

/** Returns whether the run has not ended, and nothing tells that no worker can go on with it: less to read than its record. */
export async function goesOn({ redis, keys }: Store, runId: string): Promise<boolean> {
  const [status, blocked] = await redis.hmget(keys.workflow(runId), "status", "blocked").catch((error) => {
    throw storedFault(recordOf(runId), error);
  });
  return status === "running" && blocked === null;
}

/**
 * Makes a failed run one that runs. Keys: the record, the journal, the ids of its signals, the index of deadlines, the place of a singleton's id. Arguments: the run's id, the
 * `length` of the journal as it was read, the new deadline, whether it `isBounded`, the life of the record in seconds,
 * then the places of entries that go. Returns: 1 when the run is revived, else 0. Called by `reviveRun`, for a caller.
 * Fence: that the run has failed, and the journal's length.
 */
const REVIVE = new Script({
  keys: ["run", "journal", "signals", "deadlines", "pointer"],
  args: { id: "text", length: "number", deadlineAt: "number", isBounded: "flag", ttlSeconds: "number" },
  moreArgs: "removed",
  lua: `
    if redis.call('HGET', run, 'status') ~= 'failed' or redis.call('LLEN', journal) ~= length then return 0 end
    for _, place in ipairs(removed) do redis.call('LSET', journal, place, 'removed') end
    redis.call('LREM', journal, 0, 'removed')
    redis.call('HSET', run, 'status', 'running', 'deadlineAt', deadlineAt)
    redis.call('HINCRBY', run, 'retries', 1)
    redis.call('HDEL', run, 'error', 'finishedAt', 'blocked', 'local', 'place', 'waitsAs', 'startAt', 'begunAt')
    for _, key in ipairs({run, journal, signals}) do redis.call('EXPIRE', key, ttlSeconds) end
    if isBounded then redis.call('ZADD', deadlines, deadlineAt, id) end
    if redis.call('HEXISTS', run, 'singleton') == 1 then redis.call('SET', pointer, id, 'EX', ttlSeconds, 'NX') end
    return 1
  `,
});

/** Lets a failed run go on without the entries at these places of its journal. */
export async function reviveRun(
  { redis, keys }: Store,
  run: RunRecord,
  { length, removed, deadlineAt }: { length: number; removed: readonly number[]; deadlineAt: number },
): Promise<void> {
  const { id } = run;
  const ttlSeconds = RUN_TTL_SECONDS + Math.ceil((deadlineAt - Date.now()) / 1000);
  await REVIVE.run(
    redis,
    {
      run: keys.workflow(id),
      journal: keys.workflowJournal(id),
      signals: keys.workflowSignals(id),
      deadlines: keys.workflowDeadlines,
      pointer: keys.workflowLimit(run.singleton ?? "", "run"),
    },
    { id, length, deadlineAt, isBounded: isBounded(run), ttlSeconds },
    { args: removed },
  );
}

/** Returns the ids of at most `limit` runs with a deadline of their own before a time, in epoch milliseconds. */
export function overdueRuns({ redis, keys }: Store, at: number, limit: number): Promise<string[]> {
  return redis.zrangebyscore(keys.workflowDeadlines, "-inf", at, "LIMIT", 0, limit);
}

/** Takes a run that has ended out of what `overdueRuns` returns. */
export async function unlistOverdue({ redis, keys }: Store, runId: string): Promise<void> {
  await redis.zrem(keys.workflowDeadlines, runId);
}

/** Returns the ids of at most `limit` runs, from the place `from` on, that were started so long before `at` that most have ended. */
export function oldRuns({ redis, keys }: Store, at: number, from: number, limit: number): Promise<string[]> {
  return redis.zrangebyscore(keys.workflowRuns, "-inf", at - DEFAULT_DEADLINE_MS, "LIMIT", from, limit);
}

/** Takes a run that has no record any more out of the list. */
export async function forgetRun({ redis, keys }: Store, runId: string): Promise<void> {
  await redis.zrem(keys.workflowRuns, runId);
}
