import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { Window } from "../../src/batch/window.ts";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { ACKNOWLEDGED } from "../../src/shared/records.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { testRedis } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { testSystem } from "../support/system.ts";
import { waitFor } from "../support/wait-for.ts";

const NAME = completionQueueName(modelRef("simulator", "test"));
const redis = testRedis();
afterAll(() => redis.disconnect());

function siteQueue(site: TestSite, connection: Redis = redis): Queue {
  const queue = new Queue(NAME, { connection, prefix: redisKeys(site.namespace).prefix });
  onTestFinished(() => queue.close());
  return queue;
}

/** Starts the batch without a worker and kills its runner once all rows are in Redis. */
async function abandoned(site: TestSite, rows: number): Promise<Queue> {
  const queue = siteQueue(site);
  const runner = site.start(...site.batch("--workers", "0"));
  await waitFor("all rows", async () => (await queue.getJobCountByTypes("prioritized")) === rows);
  runner.child.kill("SIGKILL");
  await runner.exit;
  return queue;
}

describe.concurrent("a batch that was abandoned", () => {
  test("rows whose time ran out meanwhile are sent again, not counted as failed", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(12));
    const queue = await abandoned(site, 12);
    for (const job of await queue.getJobs("prioritized")) {
      await job.updateData({ ...job.data, deadlineAt: Date.now() - 1 });
    }
    const worker = site.start("worker");
    await waitFor("their ends", async () => (await queue.getFailedCount()) === 12);
    const run = await site.run(...site.batch());
    expect(run.stderr).toContain("12 of 12 rows succeeded");
    expect(run.code).toBe(0);
    worker.child.kill("SIGKILL");
  });

  test("a mark of an earlier result that is no longer in the file does not end its row", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(5));
    const queue = await abandoned(site, 5);
    const keys = redisKeys(site.namespace);
    for (const job of await queue.getJobs("prioritized"))
      await redis.set(keys.result(job.id ?? ""), ACKNOWLEDGED);
    const run = await site.run(...site.batch());
    expect(run.stderr).toContain("5 of 5 rows succeeded");
    expect(site.repeatedCalls()).toBe(0);
  });

  test("Ctrl-C ends a run whose rows have results that no worker is there to report", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(3));
    const queue = await abandoned(site, 3);
    const [first] = await queue.getJobs("prioritized");
    const keys = redisKeys(site.namespace);
    const answered = {
      v: 1,
      jobId: first?.id,
      status: "succeeded",
      model: "test",
      attempts: 1,
      latencyMs: 1,
    };
    const tokens = { prompt: 1, completion: 1, total: 2 };
    await redis.set(keys.result(first?.id ?? ""), JSON.stringify({ ...answered, tokens, finishedAt: 1 }));
    const runner = site.start(...site.batch("--workers", "0"));
    await waitFor(
      "the rows",
      async () => (await queue.getJob(first?.id ?? ""))?.timestamp !== first?.timestamp,
    );
    runner.child.kill("SIGINT");
    expect(await runner.exit).toBe(130);
  });

  test("a result that is recorded but not on the done-list is found, and not paid again", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(5));
    const queue = await abandoned(site, 5);
    const [
      {
        data: { batch },
      } = { data: { batch: { id: "" } } },
    ] = await queue.getJobs("prioritized");
    const worker = site.start("worker");
    await waitFor("their ends", async () => (await queue.getCompletedCount()) === 5);
    await redis.del(redisKeys(site.namespace).batchDone(batch.id));
    const run = await site.run(...site.batch());
    expect(run.stderr).toContain("5 of 5 rows succeeded");
    expect(site.repeatedCalls()).toBe(0);
    worker.child.kill("SIGKILL");
  });
});

test("Redis full in mid-run: the row sender and its worker wait and go on, and nothing is paid twice", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({ latencyMs: 100 }, { GLUELLM_REDIS_URL: "" });
  const held = await holdEmbeddedRedis({ dataDir: site.path(".gluellm"), system: testSystem() });
  onTestFinished(() => held.release());
  const own = testRedis({ path: held.socketPath });
  onTestFinished(() => own.disconnect());
  // More than a window, so that the row sender has rows to send while Redis is full.
  site.write("in.jsonl", site.rows(2600));
  const runner = site.start(...site.batch("--concurrency", "300"));
  await waitFor("some answers", () => site.paidCalls().size > 200);
  await own.config("SET", "maxmemory", "1");
  const refusals = async () =>
    Number(/errorstat_OOM:count=(\d+)/.exec(await own.info("errorstats"))?.[1] ?? 0);
  // Jobs that were taken before may still begin their calls; then no more are taken.
  await waitFor("the end of all calls", async () => {
    const [answered, refused] = [site.paidCalls().size, await refusals()];
    await waitFor("further refusals", async () => (await refusals()) >= refused + 10);
    return site.simulator.stats().inFlight === 0 && site.paidCalls().size === answered;
  });
  await own.config("SET", "maxmemory", "0");
  expect(await runner.exit).toBe(0);
  expect(site.paidCalls().size).toBe(2600);
  expect(site.repeatedCalls()).toBe(0);
});

test("a window is bounded by bytes before its rows are sent, yet lets one very large row through", () => {
  const window = new Window(modelRef("simulator", "test"));
  const rows = Array.from({ length: 500 }, () => ({ bytes: 1024 * 1024 }));
  expect(window.fitting(rows)).toHaveLength(64);
  expect(window.fitting([{ bytes: 100 * 1024 * 1024 }])).toHaveLength(1);
});
