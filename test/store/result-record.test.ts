import { afterAll, beforeEach, expect, test } from "vitest";
import type { CompletionPayload } from "../../src/shared/catalog.ts";
import { ACKNOWLEDGED, emptyRecord, type ResultRecord } from "../../src/shared/records.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { acknowledge, readDoneList } from "../../src/store/batch-done-list.ts";
import { jobKey, jobLockKey } from "../../src/store/bullmq-internals.ts";
import { pushTurn, readConversation, readSums } from "../../src/store/conversation.ts";
import { lookUp } from "../../src/store/look-up.ts";
import { cancelRecord, forgetFailures, readRecord, writeRecord } from "../../src/store/result-record.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const QUEUE = "completions.test.m";
const provider = { entry: "test", fingerprint: "f" };
const redis = testRedis();
const subscriber = testRedis();
let store: Store;
let told: string[];
beforeEach(async () => {
  store = storeOf(redis, testNamespace());
  told = [];
  const seen = told;
  subscriber.removeAllListeners("message");
  await subscriber.unsubscribe();
  await subscriber.subscribe(store.keys.channel);
  subscriber.on("message", (_channel, text: string) => seen.push(text));
});
afterAll(() => {
  redis.disconnect();
  subscriber.disconnect();
});

/** A job as BullMQ has it while a worker with the token `mine` runs it. */
async function activeJob(jobId: string): Promise<void> {
  await redis.hset(jobKey(store, QUEUE, jobId), "timestamp", 1, "processedOn", 2);
  await redis.set(jobLockKey(store, QUEUE, jobId), "mine");
}

function record(jobId: string, status: ResultRecord["status"], more: Partial<ResultRecord> = {}) {
  return { ...emptyRecord(jobId, { provider, model: "m" }, status), ...more };
}

const asked = { provider, model: "m" } as CompletionPayload;
const answered = {
  tokens: { prompt: 10, completion: 5, total: 15, cached: 2 },
  calls: 1,
  costUsd: 0.5,
};

function write(written: ResultRecord, more: Partial<CompletionPayload> = {}, token = "mine") {
  const payload = { provider, model: "m", ...more } as CompletionPayload;
  const answer = more.conversation && { at: 1, messages: [{ role: "assistant" as const, content: "Yes." }] };
  const { retention } = loadSettings({ env: {}, cwd: "/" });
  return writeRecord(store, {
    ...{ queue: QUEUE, token, payload, record: written, budgetKey: "test:m", answer, retention },
  });
}

/** What was published until now. */
async function messages(): Promise<string[]> {
  const end = `end:${told.length}`;
  await redis.publish(store.keys.channel, end);
  await expect.poll(() => told.at(-1)).toBe(end);
  return told.filter((text) => !text.startsWith("end:"));
}

test("a success is written once, with its usage, and ends the journal", async () => {
  await activeJob("a");
  await redis.rpush(store.keys.journal("a"), "{}");
  const success = record("a", "succeeded", answered);
  expect(await write(success)).toBe("written");
  expect(await write(record("a", "failed"))).toBe("recorded");
  expect(await readRecord(store, "a")).toEqual(success);
  expect(await redis.exists(store.keys.journal("a"))).toBe(0);
  const [usage] = await redis.keys(`${store.keys.usage("test:m")}:*`);
  expect(await redis.hgetall(usage ?? "")).toEqual({ requests: "1", tokens: "15", outputTokens: "5" });
  expect(await messages()).toEqual(["result:a"]);
  expect(await lookUp(store, "a", undefined, ["test:m"])).toEqual({ kind: "finished", record: success });
});

test("only the worker that has the job writes; a lock that ran out still counts", async () => {
  expect(await write(record("a", "succeeded"))).toBe("gone");
  await activeJob("a");
  expect(await write(record("a", "succeeded"), {}, "another")).toBe("fenced");
  expect(await readRecord(store, "a")).toBeUndefined();
  expect(await messages()).toEqual([]);
  await redis.del(jobLockKey(store, QUEUE, "a"));
  expect(await write(record("a", "succeeded"))).toBe("written");
});

test("rows are listed, the first of a list wakes the row sender, and a row that was sent again is listed again", async () => {
  const batch = { id: "b", line: 1 };
  for (const id of ["b-1", "b-2"]) {
    await activeJob(id);
    expect(await write(record(id, "succeeded"), { batch })).toBe("written");
  }
  expect(await write(record("b-1", "succeeded"), { batch })).toBe("recorded");
  expect(await redis.lrange(store.keys.batchDone("b"), 0, -1)).toEqual(["b-1", "b-2", "b-1"]);
  expect(await messages()).toEqual(["batch:b"]);
});

test("a row that is safe in its file leaves a mark while BullMQ may run it, and nothing afterwards", async () => {
  const batch = { id: "b", line: 1 };
  for (const id of ["b-1", "b-2"]) {
    await activeJob(id);
    await write(record(id, "succeeded"), { batch });
  }
  await redis.rpush(store.keys.batchDone("b"), "b-3");
  await redis.hset(jobKey(store, QUEUE, "b-2"), "finishedOn", 3);
  const entries = await readDoneList(store, "b");
  expect(entries.map(({ jobId, record }) => [jobId, record?.status])).toEqual([
    ["b-1", "succeeded"],
    ["b-2", "succeeded"],
    ["b-3", undefined],
  ]);
  await acknowledge(
    store,
    "b",
    entries.map((entry) => ({ ...entry, queue: QUEUE })),
  );
  expect(await redis.get(store.keys.result("b-1"))).toBe(ACKNOWLEDGED);
  expect(await redis.exists(store.keys.result("b-2"), store.keys.batchDone("b"))).toBe(0);
  expect(await write(record("b-1", "failed"), { batch })).toBe("recorded");
  await redis.set(store.keys.batchLease("b"), "{}");
  expect(await lookUp(store, "b-1", { batchId: "b", modelKey: "test:m" }, ["test:m"])).toEqual({
    kind: "acknowledged",
  });
});

test("a row whose record cannot be read has failed: it is not sent, and paid, again", async () => {
  const batch = { id: "b", line: 1 };
  for (const id of ["b-1", "b-2"]) {
    await activeJob(id);
    await write(record(id, "succeeded"), { batch });
  }
  await redis.set(store.keys.result("b-1"), "{oops");
  const entries = await readDoneList(store, "b");
  expect(entries.map(({ record }) => [record?.status, record?.error?.code])).toEqual([
    ["failed", "corrupt_data"],
    ["succeeded", undefined],
  ]);
});

test("before its row is sent again, a record goes unless an answer was paid for", async () => {
  for (const [id, status] of [
    ["f", "failed"],
    ["s", "succeeded"],
  ] as const) {
    await activeJob(id);
    await write(record(id, status));
  }
  await redis.set(store.keys.result("marked"), ACKNOWLEDGED);
  await forgetFailures(store, ["f", "s", "marked", "unknown"]);
  expect((await redis.keys(store.keys.result("*"))).map((key) => key.split(":").at(-1))).toEqual(["s"]);
});

test("a cancellation stands unless the job had ended, and takes on once what was paid before it", async () => {
  expect(await cancelRecord(store, QUEUE, asked, record("a", "cancelled"))).toBe("lost");
  await activeJob("a");
  expect(await cancelRecord(store, QUEUE, asked, record("a", "cancelled"))).toBe("cancelled");
  expect(await messages()).toEqual(["cancel:a", "result:a"]);
  expect(await lookUp(store, "a", undefined, ["test:m"])).toEqual({ kind: "cancelled" });
  expect(await write(record("a", "succeeded", answered))).toBe("recorded");
  expect(await write(record("a", "cancelled", answered))).toBe("written");
  expect(await write(record("a", "cancelled", { ...answered, costUsd: 9 }))).toBe("recorded");
  expect((await readRecord(store, "a"))?.costUsd).toBe(0.5);
  await activeJob("b");
  await write(record("b", "succeeded"));
  expect(await cancelRecord(store, QUEUE, asked, record("b", "cancelled"))).toBe("succeeded");
});

test("a failed job can be cancelled again only while it is retried", async () => {
  await activeJob("a");
  await write(record("a", "failed", { finishedAt: 5 }));
  expect(await cancelRecord(store, QUEUE, asked, record("a", "cancelled"))).toBe("failed");
  await redis.hset(jobKey(store, QUEUE, "a"), "processedOn", 6);
  expect(await lookUp(store, "a", undefined, ["test:m"])).toMatchObject({
    kind: "clear",
    failedAt: expect.any(Number),
  });
  expect(await cancelRecord(store, QUEUE, asked, record("a", "cancelled"))).toBe("cancelled");
});

test("a turn's answer and sums come with the record; a retry adds the difference alone", async () => {
  const ref = { id: "c", mustExist: false };
  const job = { jobId: "a", queue: QUEUE, deadlineAt: Date.now() };
  const position = await pushTurn(store, {
    conversation: ref,
    messages: [{ role: "user", content: "Ready?" }],
    job,
  });
  const conversation = { id: "c", position: Number(position) };
  await activeJob("a");
  const failed = record("a", "failed", answered);
  expect(await write(failed, { conversation })).toBe("written");
  const before = await readSums(store, ref);
  // As when the group of scripts that it is part of is sent again.
  expect(await write(failed, { conversation })).toBe("written");
  expect(await readSums(store, ref)).toEqual(before);
  const tokens = { prompt: 30, completion: 7, total: 37, cached: 2 };
  const retried = record("a", "succeeded", { tokens, calls: 3, costUsd: 0.75 });
  expect(await write(retried, { conversation })).toBe("written");
  expect(await write(retried, { conversation })).toBe("recorded");
  expect(await readSums(store, ref)).toMatchObject({
    turns: 1,
    bytes: before.bytes,
    calls: 3,
    promptTokens: 30,
    completionTokens: 7,
    cachedTokens: 2,
    costUsd: 0.75,
    unpriced: 0,
  });
  expect((await readConversation(store, ref))[0]?.answer?.messages).toEqual([
    { role: "assistant", content: "Yes." },
  ]);
  await activeJob("stranger");
  await write(record("stranger", "succeeded", answered), { conversation });
  expect(await readSums(store, ref)).toMatchObject({ calls: 3 });
});
