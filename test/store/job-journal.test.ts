import { afterAll, beforeEach, expect, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { emptyRecord } from "../../src/shared/records.ts";
import { jobKey, jobLockKey } from "../../src/store/bullmq-internals.ts";
import { FencedError, JobJournal } from "../../src/store/job-journal.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const QUEUE = "completions.test.m";
const logger = createLogger({ level: "silent", json: true });
const redis = testRedis();
let store: Store;
beforeEach(async () => {
  store = storeOf(redis, testNamespace());
  await redis.hset(jobKey(store, QUEUE, "a"), "timestamp", 1);
  await redis.set(jobLockKey(store, QUEUE, "a"), "mine");
});
afterAll(() => redis.disconnect());

const open = (token = "mine") => JobJournal.open({ store, queue: QUEUE, jobId: "a", token, logger });
const started = (index: number) => ({ kind: "toolStarted", turn: 0, index }) as const;
const length = () => redis.llen(store.keys.journal("a"));

test("entries stand in the order of their calls, and are found by whoever opens the journal next", async () => {
  const journal = await open();
  await Promise.all([0, 1, 2].map((index) => journal.append(started(index))));
  expect(await redis.lrange(store.keys.journal("a"), 0, -1)).toEqual(
    [0, 1, 2].map((index) => JSON.stringify(started(index))),
  );
  expect((await open()).hasStarted(0, 2)).toBe(true);
});

test("a worker that no longer has the job appends nothing", async () => {
  const [old, next] = [await open(), await open("next")];
  await redis.set(jobLockKey(store, QUEUE, "a"), "next");
  await next.append(started(0));
  await expect(old.append(started(1))).rejects.toThrow(FencedError);
  expect(await length()).toBe(1);
  await redis.del(jobLockKey(store, QUEUE, "a"), jobKey(store, QUEUE, "a"));
  await expect(next.append(started(1))).rejects.toThrow(FencedError);
});

test("a command that was sent again appends once, and a writer that missed an entry appends nothing", async () => {
  const [sent, again, behind] = [await open(), await open(), await open()];
  await sent.append(started(0));
  await again.append(started(0));
  expect(await length()).toBe(1);
  await expect(behind.append(started(1))).rejects.toThrow(FencedError);
  expect(await length()).toBe(1);
});

test("a cancelled job's journal ends", async () => {
  const journal = await open();
  const provider = { entry: "test", fingerprint: "f" };
  const record = emptyRecord("a", { provider, model: "m" }, "cancelled");
  await redis.set(store.keys.result("a"), JSON.stringify(record));
  await expect(journal.append(started(0))).rejects.toMatchObject({ code: "cancelled" });
  expect(await length()).toBe(0);
});
