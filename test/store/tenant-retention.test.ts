import { expect, onTestFinished, test } from "vitest";
import { InputError } from "../../src/shared/errors.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { partsOf } from "../../src/store/bullmq-internals.ts";
import { sweepEnded } from "../../src/store/retention.ts";
import { saveTenant } from "../../src/store/tenant.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { chain } from "../support/test-workflows.ts";
import { waitFor } from "../support/wait-for.ts";

const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const logger = createLogger({ level: "silent", json: true });
const FAILING = 'bad\n#sim {"error": "400"}';

test("what a tenant has stays in Redis as long as its settings say, and not longer than all others'", async () => {
  const site = await TestSite.open({}, { GLUELLM_RETENTION_CONVERSATIONS: "172800" });
  onTestFinished(() => site[Symbol.asyncDispose]());
  const store = testStore(site.namespace);
  await saveTenant(store, "red", { resultDays: 1, failedDays: 2, conversationDays: 3 });
  const { keys, redis } = store;
  for (const [tenant, days] of [
    ["red", { result: 1, failed: 2, conversation: 2 }],
    ["default", { result: 7, failed: 30, conversation: 2 }],
  ] as const) {
    const client = siteClient(site, { mode: "local", tenant });
    const fine = await client.enqueue("fine", { model: MODEL });
    const failing = await client.enqueue(FAILING, { model: MODEL });
    await Promise.allSettled([fine.result(), failing.result()]);
    const chat = client.conversation({ id: "chat", model: MODEL });
    await chat.complete("hello");
    const stored = tenant === "default" ? "chat" : `${tenant}/chat`;
    for (const [key, expected] of [
      [keys.result(fine.id), days.result],
      [keys.result(failing.id), days.failed],
      [keys.conversation(stored), days.conversation],
    ] as const) {
      const left = await redis.ttl(key);
      expect(left, `${tenant} ${key}`).toBeGreaterThan((expected - 0.5) * DAY_SECONDS);
      expect(left, `${tenant} ${key}`).toBeLessThan((expected + 0.5) * DAY_SECONDS);
    }
  }
});

test("failed jobs and ended runs of a tenant are removed by its days, with large requests; those of others stay", async () => {
  const site = await TestSite.open();
  onTestFinished(() => site[Symbol.asyncDispose]());
  const store = testStore(site.namespace);
  const { redis, keys } = store;
  const queue = completionQueueName(modelRef("simulator", "test"));
  const { failed } = partsOf(store, queue);
  await saveTenant(store, "red", { failedDays: 1, runDays: 1 });
  const ids: Record<string, string[]> = {};
  for (const tenant of ["red", "default"]) {
    const client = siteClient(site, { mode: "local", tenant, workflows: [chain] });
    const large = await client.enqueue(`${tenant} ${"x".repeat(20_000)}\n#sim {"error": "400"}`, {
      model: MODEL,
    });
    const recent = await client.enqueue(FAILING, { model: MODEL });
    const run = await client.workflows.start(chain, { topic: tenant, steps: 1 });
    await Promise.allSettled([large.result(), recent.result(), run.result()]);
    ids[tenant] = [large.id, recent.id, run.id];
  }
  await waitFor("their end", async () => (await redis.zcard(failed)) === 4);
  const longAgo = Date.now() - 2 * DAY_MS;
  for (const [large = "", , run = ""] of Object.values(ids)) {
    await redis.zadd(failed, longAgo, large);
    await redis.hset(keys.workflow(run), "finishedAt", longAgo);
    await redis.zadd(keys.workflowRuns, longAgo, run);
  }
  const blobs = () => redis.keys(`${keys.prefix.replace(/[{}]/g, "?")}:blob:*`);
  expect(await blobs()).toHaveLength(2);
  const settings = loadSettings({ env: site.env, cwd: "/" });
  await sweepEnded(store, settings, logger);
  const [red = [], other = []] = [ids.red, ids.default];
  expect((await redis.zrange(failed, "0", "-1")).toSorted()).toEqual(
    [red[1], ...other.slice(0, 2)].toSorted(),
  );
  expect(await redis.zrange(keys.workflowRuns, "0", "-1")).toEqual([other[2]]);
  expect(await blobs()).toHaveLength(1);
  // All failed jobs are looked at once an hour.
  await redis.zadd(failed, longAgo, red[1] ?? "");
  await sweepEnded(store, settings, logger);
  expect(await redis.zscore(failed, red[1] ?? "")).not.toBeNull();
  await redis.del(keys.tenantSweep);
  await sweepEnded(store, settings, logger);
  expect(await redis.zscore(failed, red[1] ?? "")).toBeNull();
});

test("a retention that cannot be is refused, with its field", async () => {
  const store = testStore(testNamespace());
  for (const [change, fault] of [
    [{ resultDays: 31 }, /resultDays of tenant red/],
    [{ runDays: 0 }, /runDays of tenant red/],
    [{ historyMaxRows: 0.5 }, /historyMaxRows of tenant red/],
    [{ historyDays: 5, historyContentDays: 6 }, /historyContentDays of tenant red is wrong: 6 is more than/],
  ] as const) {
    const refused = saveTenant(store, "red", change);
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(fault);
  }
});
