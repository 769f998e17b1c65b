import { DelayedError, type Job, type Queue, RateLimitError } from "bullmq";
import { beforeEach, describe, expect, test } from "vitest";
import { WORKFLOW_QUEUE } from "../../src/shared/catalog.ts";
import {
  askJobTimes,
  forgetLostWorkers,
  HOLD_OF,
  hasJobs,
  JOB_TIMES,
  jobKey,
  jobLockKey,
  jobTimes,
  lostWorkers,
  NEVER_LIMITING,
  pauseQueues,
  queuePausedMs,
  snoozesOf,
} from "../../src/store/bullmq-internals.ts";
import { holdKeys, sleepKeys, wakeKeys } from "../../src/store/bullmq-sleep.ts";
import { endCount } from "../../src/store/error-counts.ts";
import { notifyRun } from "../../src/store/run-journal.ts";
import { finishRun, type RunLock, suspendRun } from "../../src/store/run-turn.ts";
import { Script } from "../../src/store/script.ts";
import type { Store } from "../../src/store/store.ts";
import { bullmqQueue, TOKEN } from "../support/bullmq.ts";
import { waitFor } from "../support/wait-for.ts";

/*
 * What src/store/bullmq-internals.ts assumes of BullMQ, held against the installed version: what our scripts read and
 * move must be, to BullMQ, as if it had done so itself.
 */

const NAME = WORKFLOW_QUEUE;

let store: Store;
let queue: Queue;
let worker: ReturnType<typeof bullmqQueue>["worker"];
let activeJob: ReturnType<typeof bullmqQueue>["activeJob"];

beforeEach(() => {
  ({ store, queue, worker, activeJob } = bullmqQueue(NAME));
});

async function timesOf(jobId: string) {
  const [[, reply] = []] = (await askJobTimes(store.redis.pipeline(), store, NAME, jobId).exec()) ?? [];
  return jobTimes(reply);
}

/** What a run's end counts as. */
const counted = ({ store, queue }: RunLock) =>
  endCount(store, { model: undefined, queue, tenant: "default" }, { errorsMs: 3_600_000 });

describe("a job", () => {
  const FACTS = new Script({
    keys: ["job", "lock"],
    args: { token: "text" },
    lua: `${HOLD_OF}${JOB_TIMES} return {holdOf(job, lock, token), isUnfinished(job) and 1 or 0, startedAt(job)}`,
  });

  function factsOf(jobId: string, token = TOKEN): Promise<unknown> {
    const keys = { job: jobKey(store, NAME, jobId), lock: jobLockKey(store, NAME, jobId) };
    return FACTS.run(store.redis, keys, { token });
  }

  test("says when it was added, begun and finished, and a retry by hand takes the last two back", async () => {
    expect(await timesOf("job")).toBeUndefined();
    await queue.add("call", {}, { jobId: "job" });
    expect(await timesOf("job")).toEqual({ addedAt: expect.any(Number) });
    const job = (await worker().getNextJob(TOKEN)) as Job;
    expect(await timesOf("job")).toEqual({ addedAt: job.timestamp, startedAt: job.processedOn });
    await job.moveToFailed(new Error("no"), TOKEN);
    expect(await timesOf("job")).toMatchObject({ startedAt: job.processedOn, endedAt: job.finishedOn });
    await job.retry("failed");
    expect(await timesOf("job")).toEqual({ addedAt: job.timestamp });
    await job.remove();
    expect(await timesOf("job")).toBeUndefined();
  });

  test("is held by the token in its lock, and by nobody else; a lock that ran out, or ended, counts as held", async () => {
    expect(await factsOf("job")).toEqual(["gone", 0]);
    const job = await activeJob("job");
    expect(await factsOf("job")).toEqual(["held", 1, job.processedOn]);
    expect(await factsOf("job", "another")).toEqual(["fenced", 1, job.processedOn]);
    await store.redis.del(jobLockKey(store, NAME, "job"));
    expect(await factsOf("job", "another")).toEqual(["held", 1, job.processedOn]);
    await job.moveToCompleted({}, "0");
    expect(await factsOf("job", "another")).toEqual(["held", 0, job.processedOn]);
  });

  test("counts the workers that were lost with it until the count is forgotten", async () => {
    await activeJob("job", { attempts: 2 });
    await store.redis.del(jobLockKey(store, NAME, "job"));
    const seen: number[] = [];
    const fails = async (job: Job) => {
      seen.push(lostWorkers(job));
      throw new Error("no");
    };
    worker(fails, { stalledInterval: 50, maxStalledCount: 50 });
    // The first of its two attempts failed by no fault of a worker.
    await waitFor("both attempts", () => queue.getFailedCount().then((count) => count === 1));
    expect(seen).toEqual([1, 1]);
    const job = (await queue.getJob("job")) as Job;
    await forgetLostWorkers(store, job);
    await job.retry();
    await waitFor("the retry", () => seen.length === 3);
    expect(seen.at(-1)).toBe(0);
  });

  test("that is put back, or meets a pause, has come back without using an attempt", async () => {
    const seen: number[] = [];
    const ends = async (job: Job) => {
      seen.push(snoozesOf(job));
      if (seen.length === 2) {
        await job.moveToDelayed(Date.now() + 1, job.token);
        throw new DelayedError();
      }
      if (seen.length === 3) {
        await pauseQueues(store, [NAME], 20);
        throw new RateLimitError();
      }
      if (seen.length < 5) throw new Error("no");
    };
    worker(ends, { limiter: NEVER_LIMITING });
    await queue.add("call", {}, { jobId: "job", attempts: 3 });
    await waitFor("its end", () => queue.getCompletedCount().then((count) => count === 1));
    expect(seen).toEqual([0, 0, 1, 2, 2]);
  });
});

describe("a job that sleeps", () => {
  const ENDED = { type: "ended", step: "s", at: 1 } as const;

  async function activeRun(
    runId: string,
    options: { priority?: number } = {},
  ): Promise<{ lock: RunLock; job: Job }> {
    await store.redis.hset(store.keys.workflow(runId), { id: runId, status: "running" });
    return {
      job: await activeJob(runId, options),
      lock: { store, queue: NAME, runId, token: TOKEN, lockMs: 30_000 },
    };
  }

  /** Everything of BullMQ's that says where a job is. */
  async function whereabouts(runId: string) {
    const { active, stalled } = holdKeys(store, NAME, runId);
    return {
      state: await queue.getJobState(runId),
      lock: await store.redis.exists(jobLockKey(store, NAME, runId)),
      active: await store.redis.llen(active),
      stalled: await store.redis.scard(stalled),
    };
  }

  test("without a time to wake is where BullMQ's own moveToWaitingChildren puts it", async () => {
    const { job } = await activeRun("theirs");
    await queue.add("child", {}, { parent: { id: "theirs", queue: queue.qualifiedName } });
    expect(await job.moveToWaitingChildren(TOKEN)).toBe(true);
    const theirs = await whereabouts("theirs");
    await queue.obliterate({ force: true });
    const { lock } = await activeRun("ours");
    expect(await suspendRun(lock, 0, undefined, [])).toBe("suspended");
    expect(await whereabouts("ours")).toEqual(theirs);
    expect(theirs).toEqual({ state: "waiting-children", lock: 0, active: 0, stalled: 0 });
  });

  test("until a time is delayed to BullMQ, and its workers take it when that has come", async () => {
    const { lock } = await activeRun("sleeper");
    const wakeAt = Date.now() + 60_000;
    expect(await suspendRun(lock, 0, wakeAt, [])).toBe("suspended");
    expect(await whereabouts("sleeper")).toEqual({ state: "delayed", lock: 0, active: 0, stalled: 0 });
    const { delayed, marker } = sleepKeys(store, NAME);
    expect(Math.floor(Number(await store.redis.zscore(delayed, "sleeper")) / 0x1000)).toBe(wakeAt);
    expect(Number(await store.redis.zscore(marker, "1"))).toBeCloseTo(wakeAt, 0);
    await (await queue.getJob("sleeper"))?.promote();
    expect((await worker().getNextJob("next"))?.id).toBe("sleeper");
  });

  test.each([
    ["waiting for steps", undefined],
    ["sleeping", 60_000],
  ])("and is %s is woken at once, once, and BullMQ's workers take it", async (_what, sleepMs) => {
    const { lock } = await activeRun("run");
    await suspendRun(lock, 0, sleepMs && Date.now() + sleepMs, []);
    expect(await notifyRun(store, "run", ENDED)).toBe("woken");
    expect(await queue.getJobState("run")).toBe("waiting");
    expect(await notifyRun(store, "run", ENDED)).toBe("noted");
    expect(await queue.getJobCounts("waiting", "delayed", "waiting-children")).toEqual({
      waiting: 1,
      delayed: 0,
      "waiting-children": 0,
    });
    const taken = Promise.withResolvers<string>();
    worker(async (job) => taken.resolve(job.id ?? ""));
    expect(await taken.promise).toBe("run");
  });

  test("keeps its priority when it is woken, and its place behind those with the same one", async () => {
    const { lock } = await activeRun("late", { priority: 5 });
    await suspendRun(lock, 0, undefined, []);
    await queue.add("w", {}, { jobId: "same", priority: 5 });
    await notifyRun(store, "late");
    expect(await queue.getJobState("late")).toBe("prioritized");
    await queue.add("w", {}, { jobId: "soon", priority: 1 });
    const taker = worker();
    const taken = [await taker.getNextJob("1"), await taker.getNextJob("2"), await taker.getNextJob("3")];
    expect(taken.map((job) => job?.id)).toEqual(["soon", "same", "late"]);
  });

  test("waits like any other when it is woken in a queue that an operator paused", async () => {
    const { lock } = await activeRun("run");
    await suspendRun(lock, 0, undefined, []);
    await queue.pause();
    const { marker } = wakeKeys(store, NAME, "run");
    await store.redis.del(marker);
    expect(await notifyRun(store, "run", ENDED)).toBe("woken");
    expect(await store.redis.exists(marker)).toBe(0);
    await queue.resume();
    const taken = Promise.withResolvers<string>();
    worker(async (job) => taken.resolve(job.id ?? ""));
    expect(await taken.promise).toBe("run");
  });

  test("is woken by BullMQ itself when the last of its children has ended: a lost message is made up for", async () => {
    const { lock } = await activeRun("run");
    const parent = { id: "run", queue: queue.qualifiedName };
    await queue.add("step", {}, { jobId: "step", parent, ignoreDependencyOnFailure: true });
    await suspendRun(lock, 0, undefined, []);
    const step = (await worker().getNextJob("t1")) as Job;
    await step.moveToFailed(new Error("no"), "t1");
    expect(await queue.getJobState("run")).toBe("waiting");
  });

  test("and ends is completed by BullMQ though children are left, since they are forgotten", async () => {
    const { lock, job } = await activeRun("run");
    await queue.add("step", {}, { jobId: "step", parent: { id: "run", queue: queue.qualifiedName } });
    await expect(job.moveToCompleted({}, TOKEN)).rejects.toThrow(/pending/);
    expect(await finishRun(lock, ["status", "succeeded"], false, counted(lock))).toBe("finished");
    await job.moveToCompleted({}, TOKEN);
    expect(await queue.getJobState("run")).toBe("completed");
  });
});

describe("a queue", () => {
  test("has jobs while one waits, with a priority or without, is delayed or runs", async () => {
    expect(await hasJobs(store, NAME)).toBe(false);
    const taker = worker();
    for (const options of [{}, { priority: 3 }]) {
      await queue.add("call", {}, options);
      expect(await hasJobs(store, NAME)).toBe(true);
      const job = (await taker.getNextJob(TOKEN)) as Job;
      expect(await hasJobs(store, NAME)).toBe(true);
      await job.moveToDelayed(Date.now() + 60_000, TOKEN);
      expect(await hasJobs(store, NAME)).toBe(true);
      await job.remove();
      expect(await hasJobs(store, NAME)).toBe(false);
    }
  });

  test("that is paused gives no jobs to workers with a limiter, until the pause is over", async () => {
    await queue.add("call", {});
    const taker = worker(null, { limiter: NEVER_LIMITING });
    expect(await queuePausedMs(store, NAME)).toBe(0);
    await pauseQueues(store, [NAME], 60_000);
    expect(await queue.getRateLimitTtl(NEVER_LIMITING.max)).toBeGreaterThan(50_000);
    expect(await queuePausedMs(store, NAME)).toBeGreaterThan(50_000);
    expect(await taker.getNextJob("1", { block: false })).toBeUndefined();
    await queue.removeRateLimitKey();
    const later = worker(null, { limiter: NEVER_LIMITING });
    expect((await later.getNextJob("2", { block: false }))?.name).toBe("call");
    // The key is BullMQ's own counter now, which is no pause.
    expect(await queuePausedMs(store, NAME)).toBe(0);
    expect(await queue.getRateLimitTtl(NEVER_LIMITING.max)).toBeLessThanOrEqual(0);
  });

  test("is paused as BullMQ's own rateLimit pauses it, and keeps the longer pause", async () => {
    await queue.rateLimit(60_000);
    await pauseQueues(store, [NAME], 10);
    expect(await queuePausedMs(store, NAME)).toBeGreaterThan(50_000);
    await pauseQueues(store, [NAME], 120_000);
    expect(await queuePausedMs(store, NAME)).toBeGreaterThan(110_000);
  });
});
