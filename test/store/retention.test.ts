import { Queue } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { FORGET_MS, readRegistry } from "../../src/store/queue-registry.ts";
import { clockOf } from "../../src/store/redis-clock.ts";
import { sweepEnded, sweepEndedJobs } from "../../src/store/retention.ts";
import { sweepEndedRuns } from "../../src/store/run-retention.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { chain } from "../support/test-workflows.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const QUEUE = completionQueueName(modelRef("simulator", "test"));
const logger = createLogger({ level: "silent", json: true });

async function openSite(env: Record<string, string> = {}) {
  const site = await TestSite.open({}, env);
  onTestFinished(() => site[Symbol.asyncDispose]());
  const store = testStore(site.namespace);
  const queue = new Queue(QUEUE, { connection: store.redis, prefix: store.keys.prefix });
  onTestFinished(() => queue.close());
  return { site, store, queue };
}

test("a quiet queue loses ended jobs by their age, keeps the others, and is forgotten after 30 days", async () => {
  const { site, store, queue } = await openSite();
  const client = siteClient(site, { mode: "local" });
  await client.complete("a secret", { model: MODEL });
  await client.close();
  await waitFor("its end", async () => (await queue.getCompletedCount()) === 1);
  const [ended] = await queue.getCompleted();
  const waiting = await siteClient(site).enqueue("later", { model: MODEL });
  const sweep = (completedMs: number) =>
    sweepEndedJobs(store, { retention: { completedMs, failedMs: FORGET_MS } }, logger);
  await sweep(3_600_000);
  expect(await queue.getCompletedCount()).toBe(1);
  await sweep(0);
  expect(await queue.getCompletedCount()).toBe(0);
  expect(await store.redis.exists(`${store.keys.prefix}:${QUEUE}:${ended?.id}`)).toBe(0);
  expect(await queue.getJobState(waiting.id)).toBe("waiting");

  const longAgo = JSON.stringify({ registeredAt: Date.now() - FORGET_MS - 1 });
  await store.redis.hset(store.keys.queues, QUEUE, longAgo);
  await sweep(0);
  expect(await readRegistry(store)).toHaveLength(1);
  await queue.remove(waiting.id);
  await store.redis.hset(store.keys.shares(QUEUE, "interactive"), "clock", 1);
  await sweep(0);
  expect(await readRegistry(store)).toEqual([]);
  // Fleets see models come and go: nothing is left of one, as its number of keys would only grow.
  expect(await store.redis.keys(`*${site.namespace}*${QUEUE}*`)).toEqual([]);
});

test("a queue that was forgotten while somebody had paused it is still paused when it comes back", async () => {
  const { store, queue } = await openSite();
  await queue.pause();
  await store.redis.hset(store.keys.queues, QUEUE, JSON.stringify({ registeredAt: 0 }));
  await sweepEndedJobs(store, { retention: { completedMs: 0, failedMs: 0 } }, logger);
  expect(await readRegistry(store)).toEqual([]);
  expect(await queue.isPaused()).toBe(true);
});

test("an operator removes a queue, with jobs that have not ended only by force", async () => {
  const { site, store, queue } = await openSite();
  await siteClient(site).enqueue("later", { model: MODEL });
  const refused = await site.run("queues", "remove", MODEL);
  expect(refused.code).toBe(2);
  expect(refused.stderr).toContain("1 job not ended");
  expect((await site.run("queues", "remove", MODEL, "--force")).stdout).toContain("with 1 job not ended");
  expect(await queue.getJobCounts("waiting")).toMatchObject({ waiting: 0 });
  expect(await readRegistry(store)).toEqual([]);
});

const SECRET = "who killed Laura Palmer?";

test("results, failures and conversations stay as long as the settings say", async () => {
  const { site, store } = await openSite({
    GLUELLM_RETENTION_RESULTS: "3600",
    GLUELLM_RETENTION_FAILED: "7200",
    GLUELLM_RETENTION_CONVERSATIONS: "1800",
  });
  const client = siteClient(site, { mode: "local" });
  const job = await client.enqueue("fine", { model: MODEL });
  await job.result();
  const failing = await client.enqueue('bad\n#sim {"error": "400"}', { model: MODEL });
  await expect(failing.result()).rejects.toThrow();
  const chat = client.conversation({ model: MODEL });
  await chat.complete(SECRET);
  const { keys, redis } = store;
  for (const [key, seconds] of [
    [keys.result(job.id), 3600],
    [keys.result(failing.id), 7200],
    // And the time that its call had.
    [keys.conversation(chat.id), 1800 + 600],
  ] as const) {
    const left = await redis.ttl(key);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(seconds);
  }
});

test("a failed job that goes takes its large request along", async () => {
  const { site, store, queue } = await openSite();
  const client = siteClient(site, { mode: "local" });
  const failing = client.complete(`${SECRET.repeat(1000)}\n#sim {"error": "400"}`, { model: MODEL });
  await expect(failing).rejects.toThrow();
  await waitFor("its end", async () => (await queue.getFailedCount()) === 1);
  const blobs = () => store.redis.keys(`${store.keys.prefix.replace(/[{}]/g, "?")}:blob:*`);
  expect(await blobs()).toHaveLength(1);
  await sweepEndedJobs(store, { retention: { completedMs: 0, failedMs: 0 } }, logger);
  expect(await blobs()).toEqual([]);
});

test("an ended child stays as long as its parent runs", async () => {
  const { runs, work, settings } = await workflowSite();
  const child = defineWorkflow({
    name: "child",
    input: z.object({}),
    output: z.number(),
    run: async () => 1,
  });
  const parent = defineWorkflow({
    name: "parent",
    input: z.object({}),
    output: z.number(),
    run: async (ctx) => {
      const found = await ctx.child("child", child, {});
      await ctx.waitFor("end");
      return found;
    },
  });
  await work(parent, child);
  const run = await runs.start(parent, {});
  const id = await waitFor("the child's end", async () => {
    const [step] = await run.steps();
    return step?.state === "succeeded" ? step.job : undefined;
  });
  const store = testStore(settings.namespace);
  expect(await sweepEndedRuns(store, Date.now() + 60_000)).toBe(0);
  expect(await runs.open(id).result()).toBe(1);
  await run.signal("end");
  expect(await run.result()).toBe(1);
  expect(await sweepEndedRuns(store, Date.now() + 60_000)).toBe(2);
});

test("ended runs go with their steps' results and large values; running ones and steps of forks stay", async () => {
  const { site, store } = await openSite();
  const { redis, keys } = store;
  const client = siteClient(site, { mode: "local", workflows: [chain] });
  const topic = SECRET.repeat(1000);
  const run = await client.workflows.start(chain, { topic, steps: 2 });
  await run.result();
  const origin = await client.workflows.start(chain, { topic: "of a fork", steps: 2 });
  await origin.result();
  const fork = await origin.fork({ fromStep: "ask#2" });
  await fork.result();
  const [mine] = await run.steps();
  const [taken] = await origin.steps();
  await client.close();
  const waiting = await siteClient(site).workflows.start(chain, { topic: "later" });
  expect(await sweepEndedRuns(store, (await clockOf(store).fresh()) - 3_600_000)).toBe(0);
  const settings = loadSettings({ env: site.env, cwd: "/" });
  // What a busy process takes for the time of Redis may be ahead of it.
  const retention = { ...settings.retention, completedMs: 0, runsMs: -60_000 };
  await sweepEnded(store, { retention }, logger);
  expect(
    await redis.exists(keys.workflow(run.id), keys.workflowJournal(run.id), keys.result(mine?.job ?? "")),
  ).toBe(0);
  expect(await redis.exists(keys.workflow(fork.id), keys.workflow(origin.id))).toBe(0);
  expect(await redis.exists(keys.result(taken?.job ?? ""))).toBe(1);
  expect(await redis.exists(keys.workflow(waiting.id))).toBe(1);
  expect(await redis.zrange(keys.workflowRuns, "0", "-1")).toEqual([waiting.id]);
  // Nothing of the ended run is left anywhere.
  for (const key of await redis.keys(`*${site.namespace}*`))
    expect((await redis.dumpBuffer(key))?.includes("Palmer") ?? false, key).toBe(false);
});
