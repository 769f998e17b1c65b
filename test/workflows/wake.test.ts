import { type Job, type Queue, Worker } from "bullmq";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { WORKFLOW_QUEUE } from "../../src/shared/catalog.ts";
import { type RedisKeys, redisKeys } from "../../src/store/redis-keys.ts";
import { appendEntries, finishRun, type RunLock, suspendRun } from "../../src/store/run-scripts.ts";
import { notifyRun } from "../../src/store/workflow-journal.ts";
import { workflowSite } from "../support/workflow-site.ts";

/*
 * The contract between our scripts and the keys of the installed BullMQ: what we put to sleep and wake must be, to
 * BullMQ, as if it had done so itself.
 */

const TOKEN = "token";
const ENDED = { type: "ended", step: "s", at: 1 } as const;

let queue: Queue;
let keys: RedisKeys;
let fleet: Awaited<ReturnType<typeof workflowSite>>;

beforeEach(async () => {
  fleet = await workflowSite();
  queue = fleet.queueOf();
  keys = redisKeys(fleet.settings.namespace);
});

/** A worker that takes jobs only when it is asked to. */
function taker(): Worker {
  const connection = fleet.redis.duplicate();
  const worker = new Worker(WORKFLOW_QUEUE, null, { connection, prefix: keys.prefix });
  onTestFinished(async () => {
    await worker.close();
    connection.disconnect();
  });
  return worker;
}

async function activeRun(
  runId: string,
  opts: { priority?: number } = {},
): Promise<{ lock: RunLock; job: Job }> {
  await fleet.redis.hset(keys.workflow(runId), { id: runId, status: "running" });
  await queue.add("w", {}, { jobId: runId, ...opts });
  const job = (await taker().getNextJob(TOKEN)) as Job;
  expect(job.id).toBe(runId);
  return { lock: { store: { redis: fleet.redis, keys }, runId, token: TOKEN }, job };
}

/** Everything of BullMQ's that says where a job is. */
async function whereabouts(runId: string) {
  return {
    state: await queue.getJobState(runId),
    lock: await fleet.redis.exists(keys.jobLock(WORKFLOW_QUEUE, runId)),
    active: await fleet.redis.llen(keys.job(WORKFLOW_QUEUE, "active")),
    stalled: await fleet.redis.scard(keys.job(WORKFLOW_QUEUE, "stalled")),
  };
}

test("a suspended run is where BullMQ's own moveToWaitingChildren puts a job", async () => {
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

test("a sleeping run is delayed to BullMQ, and its workers take it when its time has come", async () => {
  const { lock } = await activeRun("sleeper");
  const wakeAt = Date.now() + 60_000;
  expect(await suspendRun(lock, 0, wakeAt, [])).toBe("suspended");
  expect(await whereabouts("sleeper")).toEqual({ state: "delayed", lock: 0, active: 0, stalled: 0 });
  const score = await fleet.redis.zscore(keys.job(WORKFLOW_QUEUE, "delayed"), "sleeper");
  expect(Math.floor(Number(score) / 0x1000)).toBe(wakeAt);
  expect(Number(await fleet.redis.zscore(keys.job(WORKFLOW_QUEUE, "marker"), "1"))).toBeCloseTo(wakeAt, 0);
  await (await queue.getJob("sleeper"))?.promote();
  expect((await taker().getNextJob("next"))?.id).toBe("sleeper");
});

test.each([
  ["waiting for steps", undefined],
  ["sleeping", 60_000],
])("a run %s is woken at once, once, and BullMQ's workers take it", async (_what, sleepMs) => {
  const { lock } = await activeRun("run");
  await suspendRun(lock, 0, sleepMs && Date.now() + sleepMs, []);
  expect(await notifyRun({ redis: fleet.redis, keys }, "run", ENDED)).toBe("woken");
  expect(await queue.getJobState("run")).toBe("waiting");
  expect(await notifyRun({ redis: fleet.redis, keys }, "run", ENDED)).toBe("noted");
  expect(await queue.getJobCounts("waiting", "delayed", "waiting-children")).toEqual({
    waiting: 1,
    delayed: 0,
    "waiting-children": 0,
  });
  const taken = Promise.withResolvers<string>();
  const connection = fleet.redis.duplicate();
  const worker = new Worker(WORKFLOW_QUEUE, async (job) => taken.resolve(job.id ?? ""), {
    connection,
    prefix: keys.prefix,
  });
  onTestFinished(async () => {
    await worker.close();
    connection.disconnect();
  });
  expect(await taken.promise).toBe("run");
});

test("a woken run keeps its priority", async () => {
  const { lock } = await activeRun("late", { priority: 5 });
  await suspendRun(lock, 0, undefined, []);
  await notifyRun({ redis: fleet.redis, keys }, "late");
  expect(await queue.getJobState("late")).toBe("prioritized");
  await queue.add("w", {}, { jobId: "soon", priority: 1 });
  const worker = taker();
  expect((await worker.getNextJob("t1"))?.id).toBe("soon");
  expect((await worker.getNextJob("t2"))?.id).toBe("late");
});

test("BullMQ wakes a run by itself when the last of its steps has ended: a lost message is made up for", async () => {
  const { lock } = await activeRun("run");
  const parent = { id: "run", queue: queue.qualifiedName };
  await queue.add("step", {}, { jobId: "step", parent, ignoreDependencyOnFailure: true });
  await suspendRun(lock, 0, undefined, []);
  const step = (await taker().getNextJob("t1")) as Job;
  await step.moveToFailed(new Error("no"), "t1");
  expect(await queue.getJobState("run")).toBe("waiting");
});

test("a run does not fall asleep over what it has not seen", async () => {
  const { lock } = await activeRun("run");
  expect(await notifyRun({ redis: fleet.redis, keys }, "run", ENDED)).toBe("noted");
  expect(await suspendRun(lock, 0, undefined, [])).toBe("news");
  expect(await suspendRun(lock, 1, undefined, [])).toBe("suspended");
});

test("a worker that lost the run changes nothing of it", async () => {
  const { lock } = await activeRun("run");
  const stranger = { ...lock, token: "stranger" };
  expect(await appendEntries(stranger, 0, [ENDED])).toBe("fenced");
  expect(await suspendRun(stranger, 0, undefined, [])).toBe("fenced");
  expect(await finishRun(stranger, ["status", "succeeded"])).toBe("fenced");
  expect(await fleet.redis.llen(keys.workflowJournal("run"))).toBe(0);
  expect(await whereabouts("run")).toMatchObject({ state: "active", lock: 1 });
});

test("an ended run takes nothing more, and BullMQ completes its job though steps are left", async () => {
  const { lock, job } = await activeRun("run");
  await queue.add("step", {}, { jobId: "step", parent: { id: "run", queue: queue.qualifiedName } });
  expect(await finishRun(lock, ["status", "succeeded"])).toBe("finished");
  expect(await notifyRun({ redis: fleet.redis, keys }, "run", ENDED)).toBe("over");
  expect(await appendEntries(lock, 0, [ENDED])).toBe("over");
  await job.moveToCompleted({}, TOKEN);
  expect(await queue.getJobState("run")).toBe("completed");
});
