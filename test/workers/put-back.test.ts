import { Queue } from "bullmq";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { completionJob } from "../../src/producers/completion-job.ts";
import { CompletionProducer } from "../../src/producers/completion-producer.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { emptyRecord } from "../../src/shared/records.ts";
import { loadSettings, type Settings } from "../../src/shared/settings.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { type ConnectedStore, connectedStore } from "../../src/store/connected-store.ts";
import { readFleetFigures } from "../../src/store/fleet-figures.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import type { RedisKeys } from "../../src/store/redis-keys.ts";
import { WorkerProcess } from "../../src/workers/worker-process.ts";
import { recordIn, testNamespace, testRedis, testRing } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const MODEL = modelRef("simulator", "test");
const REQUEST = { messages: [{ role: "user" as const, content: "hello" }] };
const logger = createLogger({ level: "silent", json: true });

let simulator: Simulator;
let settings: Settings;
let store: ConnectedStore;
let keys: RedisKeys;
let queue: Queue;
let worker: WorkerProcess;
let producer: CompletionProducer;
const redis = testRedis();

beforeEach(async () => {
  simulator = await startSimulator({ latencyMs: 1, jitterMs: 0 });
  const env = { GLUELLM_NAMESPACE: testNamespace(), SIMULATOR_BASE_URL: `${simulator.url}/v1` };
  settings = loadSettings({ env, cwd: "/" });
  store = connectedStore(redis, settings.namespace, testRing());
  keys = store.keys;
  const name = completionQueueName(MODEL);
  await registerQueue(store, name);
  producer = new CompletionProducer({ store, settings });
  queue = new Queue(name, { connection: redis, prefix: keys.prefix });
  worker = await WorkerProcess.start({
    store,
    settings,
    logger,
  });
});
afterEach(async () => {
  await worker.close();
  await producer.close();
  store.notifier.close();
  await queue.close();
  await simulator.close();
});

async function validJob(jobId: string) {
  return completionJob(store, settings, {
    jobId,
    model: MODEL,
    request: REQUEST,
    urgency: "interactive",
  });
}

describe("a job this worker cannot run goes back, with a reason and without using an attempt", () => {
  test.each([
    ["a newer payload", { v: 99 }, "payload version 99"],
    [
      "another server under the entry's name",
      { provider: { entry: "simulator", fingerprint: "other" } },
      "set up differently",
    ],
    ["an entry nobody knows", { provider: { entry: "nobody", fingerprint: "x" } }, 'entry "nobody"'],
  ])("%s", async (_what, change, reason) => {
    const { name, data, opts } = await validJob("job-1");
    await queue.add(name, { ...data, ...change }, { ...opts, timestamp: Date.now() - 60_000 });
    const waitsFor = await waitFor("a reason", async () => {
      const job = await queue.getJob("job-1");
      return (job?.progress as { waitsFor?: string } | undefined)?.waitsFor;
    });
    expect(waitsFor).toContain(reason);
    // For alerts and metrics it has waited all the time, however often workers look at it.
    await waitFor("its age", async () => {
      const [figures] = (await readFleetFigures(store))?.queues ?? [];
      return figures?.soon === 1 && figures.oldestMs >= 60_000;
    });
    await waitFor("the job to be delayed", async () => (await queue.getJobState("job-1")) === "delayed");
    expect((await queue.getJob("job-1"))?.attemptsMade).toBe(0);
    expect(simulator.journal.entries()).toEqual([]);
  });
});

describe("what no attempt can mend fails at once", () => {
  test("data that is no request", async () => {
    await queue.add("completion", { hello: "world" }, { jobId: "job-1", attempts: 3 });
    await waitFor("the failure", async () => (await queue.getJobState("job-1")) === "failed");
    const job = await queue.getJob("job-1");
    expect(job?.failedReason).toContain("invalid_payload");
    expect(job?.failedReason).not.toContain("world");
  });

  test("a passed deadline", async () => {
    const { name, data, opts } = await validJob("job-1");
    await queue.add(name, { ...data, deadlineAt: Date.now() - 1 }, opts);
    await waitFor("the failure", async () => (await queue.getJobState("job-1")) === "failed");
    expect((await queue.getJob("job-1"))?.failedReason).toContain("deadline_exceeded");
    expect(simulator.journal.entries()).toEqual([]);
  });
});

test("a job that no worker can run fails when its deadline has passed", async () => {
  const { name, data, opts } = await validJob("job-1");
  const provider = { entry: "nobody", fingerprint: "x" };
  await queue.add(name, { ...data, provider, deadlineAt: Date.now() - 1 }, opts);
  await waitFor("the failure", async () => (await queue.getJobState("job-1")) === "failed");
  expect((await queue.getJob("job-1"))?.failedReason).toContain("deadline_exceeded");
  expect(await recordIn(redis, settings.namespace, "job-1")).toMatchObject({
    error: { code: "deadline_exceeded" },
  });
});

test.each([
  ["429", "rate_limit"],
  ["500", "connection"],
])(
  "a job whose time is over before its next attempt says what the last one failed with: %s",
  async (fault, type) => {
    simulator.setFaults({ [fault]: 1 });
    const job = await validJob("job-1");
    await queue.add(job.name, job.data, job.opts);
    await waitFor("a failed attempt", async () => (await queue.getJob("job-1"))?.progress !== 0);
    await worker.close();
    const waiting = await queue.getJob("job-1");
    await waiting?.updateData({ ...waiting.data, deadlineAt: Date.now() - 1 });
    worker = await WorkerProcess.start({ store, settings, logger });
    const record = await waitFor("the end", () => recordIn(redis, settings.namespace, "job-1"));
    const message = expect.stringMatching(/^the job's deadline passed: .{10}/);
    expect(record.error).toMatchObject({ type, code: "deadline_exceeded", status: Number(fault), message });
  },
);

test("a retry that a worker's clock lets begin too early goes back, and uses no attempt of its own", async () => {
  // Nobody has it before all of it is there, and the worker is up: its time does not pass meanwhile on a busy machine.
  await queue.pause();
  const { name, data, opts } = await validJob("job-1");
  const job = await queue.add(name, data, opts);
  const againAt = Date.now() + 6000;
  await job.updateProgress({ againAt, waitsFor: "what it waited for" });
  await queue.resume();
  const record = await waitFor("the end", () => recordIn(redis, settings.namespace, "job-1"));
  expect(record).toMatchObject({ status: "succeeded", attempts: 1 });
  expect((await queue.getJob("job-1"))?.progress).toMatchObject({ waitsFor: "what it waited for" });
  expect(simulator.journal.entries()[0]?.at).toBeGreaterThanOrEqual(againAt - 100);
});

describe("the record comes before the call", () => {
  test("a job that was answered once is completed without another call", async () => {
    const first = await producer.complete({ model: MODEL, request: REQUEST });
    const calls = simulator.journal.entries().length;
    // What a worker killed between record and completion leaves behind: the job waits again, its record stands.
    const { name, data, opts } = await validJob(first.jobId);
    await waitFor("the first job's end", async () => (await queue.getJobState(first.jobId)) === "completed");
    await queue.remove(first.jobId);
    await queue.add(name, data, opts);
    await waitFor("its completion", async () => (await queue.getJobState(first.jobId)) === "completed");
    expect(simulator.journal.entries().length).toBe(calls);
  });

  test("a caller that gives up cancels its job, in flight too", async () => {
    simulator.setLatency({ latencyMs: 20_000 });
    const caller = new AbortController();
    const answer = producer.complete({ model: MODEL, request: REQUEST }, caller.signal);
    await waitFor("the call", () => simulator.stats().inFlight === 1);
    caller.abort(new Error("given up"));
    await expect(answer).rejects.toThrow("given up");
    await waitFor("the call's end", () => simulator.stats().inFlight === 0);
    const record = await waitFor("the record", async () => (await redis.keys(keys.result("*"))).at(0));
    expect(JSON.parse((await redis.get(record)) ?? "{}")).toMatchObject({ status: "cancelled" });
  });

  test("a cancelled job makes no call", async () => {
    const { name, data, opts } = await validJob("job-1");
    await redis.set(keys.result("job-1"), JSON.stringify(emptyRecord("job-1", data, "cancelled")));
    await queue.add(name, data, opts);
    await waitFor("the end", async () => (await queue.getJobState("job-1")) === "failed");
    expect(JSON.parse((await redis.get(keys.result("job-1"))) ?? "{}")).toMatchObject({
      status: "cancelled",
    });
    expect(simulator.journal.entries()).toEqual([]);
  });
});
