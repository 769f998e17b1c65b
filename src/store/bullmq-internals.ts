import type { Job, Worker } from "bullmq";
import type { ChainableCommander } from "ioredis";
import { repliesOf } from "./redis.ts";
import { Script } from "./script.ts";
import type { Store } from "./store.ts";

/*
 * All that this code base knows of BullMQ beyond its public API: the keys and fields in which it keeps a job, how a job
 * moves between them, and one private member. Each part states what it assumes, and test/store/bullmq-internals.test.ts
 * holds the installed version to it. Nothing of ours writes to a key of BullMQ's but the scripts built from this file.
 */

// A job ------------------------------------------------------------------------------------------------------------

/** Assumes that a job is a hash at `<prefix>:<queue>:<job id>`, beside the parts of its queue, and gone with the job. */
export function jobKey({ keys }: Pick<Store, "keys">, queue: string, jobId: string): string {
  return `${keys.prefix}:${queue}:${jobId}`;
}

/**
 * Assumes that the lock of an active job is a string beside the job that holds its worker's token, and that it expires
 * when that worker no longer renews it.
 */
export function jobLockKey(store: Pick<Store, "keys">, queue: string, jobId: string): string {
  return `${jobKey(store, queue, jobId)}:lock`;
}

/** Assumes that a job's log is a list of lines beside the job. */
export function jobLogKey(store: Pick<Store, "keys">, queue: string, jobId: string): string {
  return `${jobKey(store, queue, jobId)}:logs`;
}

/** What BullMQ has written down of a job, in epoch milliseconds. */
export interface JobTimes {
  addedAt: number;
  /** When its latest attempt began; undefined when it waits for its first, or was put into its queue again. */
  startedAt: number | undefined;
  /** When BullMQ finished it; undefined while it may still run. */
  endedAt: number | undefined;
}

/**
 * Adds the question for a job's times to a pipeline; `jobTimes` reads the reply. Assumes the fields `timestamp`, which
 * every job has, `processedOn` and `finishedOn`; and that a retry by hand deletes the last two.
 */
export function askJobTimes<P extends ChainableCommander>(
  pipeline: P,
  store: Store,
  queue: string,
  jobId: string,
): P {
  pipeline.hmget(jobKey(store, queue, jobId), "timestamp", "processedOn", "finishedOn");
  return pipeline;
}

/** Reads a reply to `askJobTimes`: undefined when BullMQ does not have the job (any more). */
export function jobTimes(reply: unknown): JobTimes | undefined {
  const [addedAt, startedAt, endedAt] = (reply as (string | null)[]).map((text) =>
    text ? Number(text) : undefined,
  );
  return addedAt === undefined ? undefined : { addedAt, startedAt, endedAt };
}

/**
 * Lua: `holdOf(job, lock, token)` returns `held`, `fenced` when another worker has the job's lock, or `gone` when BullMQ
 * no longer has the job, whose lock goes with it. A lock that merely ran out still counts as held: the work is paid for, and nobody else has
 * begun. Assumes what `jobKey` and `jobLockKey` do.
 */
export const HOLD_OF = `
  local function holdOf(job, lock, token)
    local holder = redis.call('GET', lock)
    if holder == token then return 'held' end
    if redis.call('EXISTS', job) == 0 then return 'gone' end
    return holder and 'fenced' or 'held'
  end
`;

/**
 * Lua: `isUnfinished(job)` is true while BullMQ has the job and will run it, or runs it; `startedAt(job)` is when its
 * latest attempt began, or nil. Assumes what `askJobTimes` does.
 */
export const JOB_TIMES = `
  local function isUnfinished(job)
    local times = redis.call('HMGET', job, 'timestamp', 'finishedOn')
    return times[1] ~= false and times[2] == false
  end
  local function startedAt(job) return tonumber(redis.call('HGET', job, 'processedOn') or '') end
`;

/** Lua: `hasJob(prefix, queue, id)` is true while BullMQ has the job. Assumes what `jobKey` does. */
export const HAS_JOB = `
  local function hasJob(prefix, queue, id) return redis.call('EXISTS', prefix .. ':' .. queue .. ':' .. id) == 1 end
`;

// A job's parts --------------------------------------------------------------------------------------------------

/**
 * The key of the children that BullMQ waits for before it completes a job. Assumes that it is a set beside the job, and
 * that without it the job has none.
 */
export function childrenKey(store: Store, queue: string, jobId: string): string {
  return `${jobKey(store, queue, jobId)}:dependencies`;
}

export function partsOf(store: Store, queue: string) {
  const of = (part: string) => jobKey(store, queue, part);
  return {
    wait: of("wait"),
    prioritized: of("prioritized"),
    delayed: of("delayed"),
    active: of("active"),
    waitingChildren: of("waiting-children"),
    stalled: of("stalled"),
    marker: of("marker"),
    meta: of("meta"),
    counter: of("pc"),
    events: of("events"),
    limiter: of("limiter"),
    completed: of("completed"),
    failed: of("failed"),
  };
}

/** The names under which BullMQ keeps the parts of a queue, among the ids of its jobs. */
export const QUEUE_PARTS: ReadonlySet<string> = new Set([
  ...["", "wait", "paused", "prioritized", "delayed", "active", "waiting-children", "completed", "failed"],
  ...[
    "stalled",
    "stalled-check",
    "marker",
    "meta",
    "id",
    "pc",
    "events",
    "limiter",
    "repeat",
    "de",
    "metrics",
  ],
]);

// Queues -----------------------------------------------------------------------------------------------------------

/**
 * True when the queue has jobs that wait, are delayed or run; without opening a connection or a BullMQ queue for it.
 * Assumes the names of the four keys, and that Redis deletes empty ones.
 */
export async function hasJobs(store: Store, queue: string): Promise<boolean> {
  const { wait, prioritized, delayed, active } = partsOf(store, queue);
  return (await store.redis.exists(wait, prioritized, delayed, active)) > 0;
}

/**
 * Of these queues, those that `hasJobs` is true of; with `asleep` those too whose jobs all sleep. It takes one command when there
 * are none.
 */
export async function queuesWithJobs(
  store: Store,
  queues: readonly string[],
  { asleep }: { asleep: boolean },
): Promise<string[]> {
  const keysOf = (queue: string) => {
    const { wait, prioritized, delayed, active, waitingChildren } = partsOf(store, queue);
    return [wait, prioritized, delayed, active, ...(asleep ? [waitingChildren] : [])];
  };
  if (queues.length === 0 || (await store.redis.exists(queues.flatMap(keysOf))) === 0) return [];
  const pipeline = store.redis.pipeline();
  for (const queue of queues) pipeline.exists(keysOf(queue));
  const found = await repliesOf(pipeline);
  return queues.filter((_, n) => Number(found[n]) > 0);
}

/**
 * The limiter of all workers. BullMQ enforces a queue's pause only on workers with a limiter; this one never limits by
 * itself. `queue.getRateLimitTtl(NEVER_LIMITING.max)` tells a pause from BullMQ's counter, which stays below `max`.
 */
export const NEVER_LIMITING = { max: 1_000_000_000, duration: 1000 } as const;

/**
 * Pauses several queues at once, as BullMQ's `queue.rateLimit` does for one; never shortens a pause that another call
 * was given.
 * Keys: the queues' limiters. Arguments: `ms`. Returns: nothing. Called by the worker whose call the provider refused.
 * Fence: none.
 *
 * Assumes that workers with a limiter take no job while the number in the queue's key `limiter` is at their limiter's
 * `max`, until that key expires; and that the key is otherwise BullMQ's counter of jobs in the present second.
 */
const PAUSE = new Script({
  keys: [],
  args: { ms: "number" },
  moreKeys: "limiters",
  lua: `
    local PAUSED = 9007199254740991
    for _, limiter in ipairs(limiters) do
      local value = tonumber(redis.call('GET', limiter) or '0')
      if value < PAUSED or redis.call('PTTL', limiter) < ms then
        redis.call('SET', limiter, string.format('%.0f', PAUSED), 'PX', ms)
      end
    end
  `,
});

/** No worker of the fleet takes a job from these queues for `ms`. */
export async function pauseQueues(store: Store, queues: readonly string[], ms: number): Promise<void> {
  const limiters = queues.map((queue) => partsOf(store, queue).limiter);
  await PAUSE.run(store.redis, {}, { ms: Math.max(1, Math.ceil(ms)) }, { keys: limiters });
}

/** Ends the pauses of these queues; workers see it within a second. */
export async function resumeQueues(store: Store, queues: readonly string[]): Promise<void> {
  const limiters = queues.map((queue) => partsOf(store, queue).limiter);
  if (limiters.length > 0) await store.redis.del(...limiters);
}

/** Returns how many milliseconds the queue's pause still lasts; 0 when there is none. */
export async function queuePausedMs(store: Store, queue: string): Promise<number> {
  const { limiter } = partsOf(store, queue);
  const [value, ttlMs] = await Promise.all([store.redis.get(limiter), store.redis.pttl(limiter)]);
  return Number(value) >= NEVER_LIMITING.max ? Math.max(0, ttlMs) : 0;
}

/**
 * Lua: `headPriority(prioritized, first, last)` returns the lowest priority, from `first` to `last`, of a job that waits; nil when
 * there is none. Assumes that waiting jobs with a priority are a sorted set whose scores are priority × 2³² and a counter.
 */
export const HEAD_PRIORITY = `
  local function headPriority(prioritized, first, last)
    local from, to = string.format('%.0f', first * 2^32), string.format('(%.0f', (last + 1) * 2^32)
    local head = redis.call('ZRANGEBYSCORE', prioritized, from, to, 'WITHSCORES', 'LIMIT', 0, 1)
    return head[2] and math.floor(tonumber(head[2]) / 2^32)
  end
`;

// Counters of a job ------------------------------------------------------------------------------------------------

/**
 * Returns how many workers were lost while they ran the job. Assumes that `stalledCounter` goes up by one each time a
 * worker finds an active job without a lock, and only then.
 */
export function lostWorkers(job: Job): number {
  return job.stalledCounter;
}

/** Sets `lostWorkers` back to 0. Assumes that BullMQ keeps the count in the job's field `stc`, and never resets it. */
export async function forgetLostWorkers(store: Store, job: Job): Promise<void> {
  await store.redis.hdel(jobKey(store, job.queueName, job.id ?? ""), "stc");
}

/**
 * Returns how often the job came back without having used an attempt. Assumes that BullMQ counts in `attemptsStarted`
 * every time a worker takes the job, and in `attemptsMade` only the ends that are neither a delay nor a rate limit.
 */
export function snoozesOf({ attemptsStarted, attemptsMade }: Job): number {
  return Math.max(0, attemptsStarted - attemptsMade - 1);
}

/** Returns how often in a row workers have put the job back, where they count it (`putBack`). */
export function putBacksOf({ progress }: Job): number {
  return (progress as { putBacks?: number } | undefined)?.putBacks ?? 0;
}

/** Returns the ids of workers whose code did not fit the job when they had it, as `putBack` keeps them. */
export function unfitWorkersOf({ progress }: Job): string[] {
  return (progress as { unfit?: string[] } | undefined)?.unfit ?? [];
}

// Workers ----------------------------------------------------------------------------------------------------------

/**
 * Sets the jobs that a BullMQ worker has at a time, at once: by itself, BullMQ looks at a raised concurrency only when
 * a job ends, which under a provider's latency may take a minute. Assumes that a promise in the private
 * `mainLoopQueue` has the worker's main loop look for jobs again, as BullMQ's own `resume()` has it.
 */
export function setConcurrency(worker: Worker, concurrency: number): void {
  const isMore = concurrency > worker.concurrency;
  worker.concurrency = concurrency;
  // biome-ignore lint/complexity/useLiteralKeys: TypeScript lets only this form at a private field.
  if (isMore) worker["mainLoopQueue"]?.add(Promise.resolve());
}
