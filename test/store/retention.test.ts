import { Queue } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { FORGET_MS, readRegistry } from "../../src/store/queue-registry.ts";
import { sweepEndedJobs } from "../../src/store/retention.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const QUEUE = completionQueueName(modelRef("simulator", "test"));
const logger = createLogger({ level: "silent", json: true });

async function openSite() {
  const site = await TestSite.open();
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
  await sweep(0);
  expect(await readRegistry(store)).toEqual([]);
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
