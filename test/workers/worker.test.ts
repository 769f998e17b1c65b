import type { ServerResponse } from "node:http";
import { Queue } from "bullmq";
import { afterEach, beforeEach, describe, expect, inject, onTestFinished, test } from "vitest";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { completionJob } from "../../src/producers/completion-job.ts";
import { CompletionProducer } from "../../src/producers/completion-producer.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings, type Settings } from "../../src/shared/settings.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { inlineOrBlob } from "../../src/store/blobs.ts";
import { jobLockKey, NEVER_LIMITING } from "../../src/store/bullmq-internals.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import { type RedisKeys, redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { WorkerProcess } from "../../src/workers/worker-process.ts";
import { recordIn, testNamespace, testRedis, testStore } from "../support/redis.ts";
import { redisOptions } from "../support/redis-folders.ts";
import { SocketProxy } from "../support/socket-proxy.ts";
import { waitFor } from "../support/wait-for.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const MODEL = modelRef("simulator", "test");
const NAME = completionQueueName(MODEL);
const REQUEST = { messages: [{ role: "user" as const, content: "hello" }] };
const LARGE_REQUEST = { messages: [{ role: "user" as const, content: "large ".repeat(5000) }] };
const logger = createLogger({ level: "silent", json: true });
const redis = testRedis();

let simulator: Simulator;
let env: Record<string, string>;
let settings: Settings;
let keys: RedisKeys;
let queue: Queue;

beforeEach(async () => {
  simulator = await startSimulator({ latencyMs: 1, jitterMs: 0 });
  env = {
    GLUELLM_NAMESPACE: testNamespace(),
    SIMULATOR_BASE_URL: `${simulator.url}/v1`,
    GLUELLM_RETRY_MIN_WAIT: "0.05",
    GLUELLM_RETRY_MAX_WAIT: "0.1",
  };
  settings = loadSettings({ env, cwd: "/" });
  keys = redisKeys(settings.namespace);
  await registerQueue(plainStore(redis, keys), NAME);
  queue = new Queue(NAME, { connection: redis, prefix: keys.prefix });
});
afterEach(async () => {
  await queue.close();
  await simulator.close();
});

async function startWorker(socketPath = inject("redisSocket")): Promise<WorkerProcess> {
  const worker = await WorkerProcess.start({
    store: testStore(settings.namespace, socketPath),
    settings,
    logger,
  });
  onTestFinished(() => worker.close({ drainMs: 0 }));
  return worker;
}

function testProducer(store = testStore(settings.namespace)): CompletionProducer {
  const producer = new CompletionProducer({ store, settings });
  onTestFinished(() => producer.close());
  return producer;
}

async function job(jobId: string, request: typeof REQUEST = REQUEST) {
  return completionJob(plainStore(redis, keys), settings, {
    jobId,
    model: MODEL,
    request,
    urgency: "interactive",
  });
}

async function recordOf(jobId: string) {
  return recordIn(redis, settings.namespace, jobId);
}

describe("a job that another worker took over", () => {
  test("keeps its request: the new owner may still need it", async () => {
    simulator.setLatency({ latencyMs: 400 });
    const { name, data, opts } = await job("job-1", LARGE_REQUEST);
    await queue.add(name, data, opts);
    await startWorker();
    await waitFor("the call", () => simulator.stats().inFlight === 1);
    await redis.set(jobLockKey({ keys }, NAME, "job-1"), "another worker", "PX", 60_000);
    await waitFor("the call's end", () => simulator.stats().inFlight === 0);
    // The next job's end shows that the first one's has been dealt with.
    simulator.setLatency({ latencyMs: 1 });
    await testProducer().complete({ model: MODEL, request: REQUEST });
    expect(await recordOf("job-1")).toBeUndefined();
    expect(await redis.keys(keys.blob("*"))).toHaveLength(1);
  });
});

describe("a process that was held up until its job's lock ran out", () => {
  test("gets the job once more, and lets the call that it already makes answer it", async () => {
    simulator.setLatency({ latencyMs: 600 });
    const { name, data, opts } = await job("job-1");
    await queue.add(name, data, opts);
    await startWorker();
    await waitFor("the call", () => simulator.stats().inFlight === 1);
    // What the stall check does.
    const key = (part: string) => `${keys.prefix}:${NAME}:${part}`;
    const moved = redis
      .multi()
      .del(jobLockKey({ keys }, NAME, "job-1"))
      .lrem(key("active"), 1, "job-1");
    await moved.rpush(key("wait"), "job-1").zadd(key("marker"), 0, "0").exec();
    await waitFor("the end", async () => (await queue.getJobState("job-1")) === "completed");
    expect(await recordOf("job-1")).toMatchObject({ status: "succeeded" });
    expect(simulator.journal.entries()).toHaveLength(1);
  });
});

describe("a job that no attempt can bring to its end", () => {
  test("leaves a record of its failure, so that whoever waits for it wakes", async () => {
    const broken = { messages: "x".repeat(20_000) };
    const request = await inlineOrBlob(plainStore(redis, keys), "job-1", broken);
    const { name, data, opts } = await job("job-1");
    await queue.add(name, { ...data, request }, opts);
    await startWorker();
    await waitFor("the failure", async () => (await queue.getJobState("job-1")) === "failed");
    expect(await recordOf("job-1")).toMatchObject({
      status: "failed",
      error: { code: "internal", attempts: 3 },
    });
  });
});

describe("the provider's pauses", () => {
  test("a short one does not end a longer one", async () => {
    const held: ServerResponse[] = [];
    const provider = await wireServer((response) => {
      held.push(response);
      if (held.length < 2) return;
      const error = { error: { message: "slow down", type: "requests", code: "rate_limit_exceeded" } };
      sendJson(held[0] as ServerResponse, error, 429, { "retry-after": "60" });
      setTimeout(() => sendJson(response, error, 429, { "retry-after-ms": "1" }), 300);
    });
    settings = loadSettings({ env: { ...env, SIMULATOR_BASE_URL: `${provider.url}/v1` }, cwd: "/" });
    for (const jobId of ["job-1", "job-2"]) {
      const { name, data, opts } = await job(jobId);
      await queue.add(name, data, opts);
    }
    await startWorker();
    await waitFor("both calls", () => held.length === 2);
    await waitFor("both jobs to wait", async () => (await queue.getActiveCount()) === 0);
    expect(await queue.getRateLimitTtl(NEVER_LIMITING.max)).toBeGreaterThan(30_000);
  });
});

describe("Redis refuses or is away", () => {
  test("full memory: the answer is kept until Redis takes it, and is paid once", async () => {
    const held = await holdEmbeddedRedis(redisOptions());
    onTestFinished(() => held.release());
    const store = testStore(settings.namespace, held.socketPath);
    const own = store.redis;
    simulator.setLatency({ latencyMs: 500 });
    await startWorker(held.socketPath);
    const answer = testProducer(store).complete({ model: MODEL, request: REQUEST });
    await waitFor("the call", () => simulator.stats().inFlight === 1);
    await own.config("SET", "maxmemory", "1");
    await waitFor("the call's end", () => simulator.stats().inFlight === 0);
    // A write that Redis refused: the record's.
    await waitFor("a refusal", async () => /errorstat_OOM:count=/.test(await own.info("errorstats")));
    await own.config("SET", "maxmemory", "0");
    expect((await answer).status).toBe("succeeded");
    expect(simulator.journal.entries()).toHaveLength(1);
  });

  test("full memory: a worker asks for jobs with pauses in between", async () => {
    const held = await holdEmbeddedRedis(redisOptions());
    onTestFinished(() => held.release());
    const store = testStore(settings.namespace, held.socketPath);
    const own = store.redis;
    await registerQueue(store, NAME);
    const ownQueue = new Queue(NAME, { connection: own, prefix: keys.prefix });
    onTestFinished(() => ownQueue.close());
    const { name, data, opts } = await job("job-1");
    await ownQueue.add(name, data, opts);
    await own.config("SET", "maxmemory", "1");
    await startWorker(held.socketPath);
    const refusals = async () =>
      Number(/errorstat_OOM:count=(\d+)/.exec(await own.info("errorstats"))?.[1] ?? 0);
    await waitFor("a refusal", async () => (await refusals()) > 0);
    const before = await refusals();
    const startedAt = performance.now();
    await waitFor("five more", async () => (await refusals()) >= before + 5);
    expect(performance.now() - startedAt).toBeGreaterThan(300);
    await own.config("SET", "maxmemory", "0");
    await waitFor("the answer", async () => (await ownQueue.getCompletedCount()) === 1);
  });

  test("a worker whose Redis is gone drains, and ends", async () => {
    const proxy = await SocketProxy.open(inject("redisSocket"));
    const worker = await startWorker(proxy.path);
    simulator.setLatency({ latencyMs: 1500 });
    const { name, data, opts } = await job("job-1");
    await queue.add(name, data, opts);
    await waitFor("the call", () => simulator.stats().inFlight === 1);
    await proxy.close();
    await waitFor("the call's end", () => simulator.stats().inFlight === 0);
    await worker.close({ drainMs: 500 });
  });
});
