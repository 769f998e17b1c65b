import { chunksOf } from "../shared/chunks-of.ts";
import { fieldsOf, isObject, parseJson } from "../shared/json.ts";
import { jobKey, jobLockKey, partsOf } from "./bullmq-internals.ts";
import { repliesOf } from "./redis.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * Jobs that BullMQ cannot read: their key is not a hash, or a field of it that must be JSON is none. BullMQ would take such
 * a job again and again, and one of the wrong type would keep the others from coming back to their queue. So a worker
 * that meets one sets it aside: the key as it is at `:unreadable:<queue>:<jobId>`, and in the hash `:unreadable` its
 * `<queue>:<jobId>` → JSON of when and why. For all others the job is gone.
 *
 * | from                    | to        | by                 | who                                         |
 * |-------------------------|-----------|--------------------|---------------------------------------------|
 * | not ended, or stranded  | set aside | `setAside`         | the worker that cannot read it; an operator |
 * | set aside               | none      | `removeUnreadable` | an operator                                 |
 */

/** The fields that BullMQ parses when it takes a job. */
const JSON_FIELDS = ["data", "opts", "progress", "parent"] as const;

/** The parts of a queue in which a job may be that has not ended. */
const PLACES = ["active", "wait", "prioritized", "delayed", "waitingChildren"] as const;

/**
 * Takes a job out of the hands of BullMQ.
 * Keys: the job, its lock, where jobs may be, the queue's set `stalled`, the key it is kept at, the hash of all of them.
 * Arguments: the job's `id`, its `name` in the hash, the `note` in it. Returns: 1 when it was there, else 0. Called by
 * `setAside`, for a worker or an operator. Fence: the key still has the type that was seen; a job that cannot be read is no
 * worker's.
 */
const SET_ASIDE = new Script({
  keys: ["job", "lock", ...PLACES, "stalled", "kept", "all"],
  args: { id: "text", type: "text", name: "text", note: "text" },
  lua: `
    if redis.call('TYPE', job).ok ~= type then return 0 end
    for _, list in ipairs({ active, wait }) do redis.call('LREM', list, -1, id) end
    for _, set in ipairs({ prioritized, delayed, waitingChildren }) do redis.call('ZREM', set, id) end
    redis.call('SREM', stalled, id)
    redis.call('DEL', lock)
    redis.call('RENAME', job, kept)
    redis.call('HSET', all, name, note)
    return 1
  `,
});

/** A job that was set aside. */
export interface SetAside {
  jobId: string;
  problem: string;
}

/** Sets those of the queue's active jobs aside that cannot be read. */
export async function setAsideActive(store: Store, queue: string): Promise<SetAside[]> {
  const jobIds = await store.redis.lrange(partsOf(store, queue).active, 0, -1);
  return setAside(store, queue, jobIds);
}

/** Sets those of these jobs aside that cannot be read. Returns them with what is wrong with each. */
export async function setAside(store: Store, queue: string, jobIds: readonly string[]): Promise<SetAside[]> {
  const { active, wait, prioritized, delayed, waitingChildren, stalled } = partsOf(store, queue);
  const found = [];
  for (const jobId of jobIds) {
    const job = jobKey(store, queue, jobId);
    const seen = await problemOf(store, job);
    if (!seen) continue;
    const name = `${queue}:${jobId}`;
    const keys = {
      ...{ job, lock: jobLockKey(store, queue, jobId) },
      ...{ active, wait, prioritized, delayed, waitingChildren, stalled },
      ...{ kept: store.keys.unreadableJob(name), all: store.keys.unreadable },
    };
    const { type, problem } = seen;
    const note = JSON.stringify({ at: Date.now(), problem });
    if ((await SET_ASIDE.run(store.redis, keys, { id: jobId, type, name, note })) === 1) {
      found.push({ jobId, problem });
    }
  }
  return found;
}

/** Jobs that are read at a time: their data may be large. */
const CHUNK = 100;

/** Returns the queue's jobs that have not ended and cannot be read, those included that no worker has met yet. */
export async function findUnreadable(store: Store, queue: string): Promise<SetAside[]> {
  const found: SetAside[] = [];
  for (const jobIds of chunksOf(await unendedJobIds(store, queue), CHUNK)) {
    const seen = await Promise.all(
      jobIds.map(async (jobId) => ({ jobId, seen: await problemOf(store, jobKey(store, queue, jobId)) })),
    );
    for (const { jobId, seen: damage } of seen) if (damage) found.push({ jobId, problem: damage.problem });
  }
  return found;
}

async function unendedJobIds(store: Store, queue: string): Promise<string[]> {
  const { active, wait, prioritized, delayed, waitingChildren } = partsOf(store, queue);
  const { redis } = store;
  const ids = await Promise.all([
    ...[active, wait].map((list) => redis.lrange(list, 0, -1)),
    ...[prioritized, delayed, waitingChildren].map((set) => redis.zrange(set, "0", "-1")),
  ]);
  return ids.flat();
}

/** Undefined for a job that can be read, and for one that is gone. */
async function problemOf(
  { redis }: Store,
  job: string,
): Promise<{ type: string; problem: string } | undefined> {
  const type = await redis.type(job);
  if (type === "none") return undefined;
  if (type !== "hash") return { type, problem: `its key is a ${type}, not a hash` };
  const values = await redis.hmget(job, ...JSON_FIELDS);
  const damaged = JSON_FIELDS.filter((name, i) => !isReadable(name, values[i]));
  return damaged.length === 0 ? undefined : { type, problem: `its ${damaged.join(" and ")} is no JSON` };
}

function isReadable(name: (typeof JSON_FIELDS)[number], text: string | null | undefined): boolean {
  if (!text) return true;
  try {
    const value: unknown = JSON.parse(text);
    return name !== "opts" || isObject(value);
  } catch {
    return false;
  }
}

export interface UnreadableJob {
  queue: string;
  jobId: string;
  /** When it was set aside, in epoch milliseconds. */
  at: number;
  problem: string;
  /** What the key takes of Redis' memory. */
  bytes: number;
}

/** Returns the jobs that were set aside. */
export async function unreadableJobs({ redis, keys }: Store): Promise<UnreadableJob[]> {
  const notes = Object.entries(await redis.hgetall(keys.unreadable));
  const pipeline = redis.pipeline();
  for (const [name] of notes) pipeline.memory("USAGE", keys.unreadableJob(name));
  const sizes = await repliesOf(pipeline);
  return notes.map(([name, json], i) => {
    const { at, problem } = fieldsOf(parseJson(json));
    const colon = name.indexOf(":");
    return {
      queue: name.slice(0, colon),
      jobId: name.slice(colon + 1),
      at: Number(at) || 0,
      problem: String(problem),
      bytes: Number(sizes[i]),
    };
  });
}

/** Deletes what was kept of a job that was set aside. */
export async function removeUnreadable(
  { redis, keys }: Store,
  { queue, jobId }: Pick<UnreadableJob, "queue" | "jobId">,
): Promise<void> {
  const name = `${queue}:${jobId}`;
  await redis.multi().del(keys.unreadableJob(name)).hdel(keys.unreadable, name).exec();
}
