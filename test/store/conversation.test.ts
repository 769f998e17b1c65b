import { afterAll, beforeEach, expect, test } from "vitest";
import type { Message } from "../../src/shared/chat.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import {
  countWaiting,
  pushTurn,
  readConversation,
  readSums,
  readTurnHead,
} from "../../src/store/conversation.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const QUEUE = "completions.test.m";
const MINUTE_MS = 60_000;
const redis = testRedis();
let store: Store;
beforeEach(() => {
  store = storeOf(redis, testNamespace());
});
afterAll(() => redis.disconnect());

const asked: Message[] = [{ role: "user", content: "Ready?" }];

function jobOf(jobId: string, deadlineAt = Date.now() + MINUTE_MS) {
  return { jobId, queue: QUEUE, deadlineAt };
}

test("turns are numbered from 0, and a job that has one keeps it", async () => {
  const conversation = { id: "c", mustExist: false };
  expect(await pushTurn(store, { conversation, messages: asked, job: jobOf("a") })).toBe(0);
  expect(await pushTurn(store, { conversation, messages: asked })).toBe(1);
  expect(await pushTurn(store, { conversation, messages: asked, job: jobOf("a") })).toBe(0);
  expect(await readConversation(store, conversation)).toHaveLength(2);
  expect(await readTurnHead(store, "c", 0)).toMatchObject({ jobId: "a", queue: QUEUE });
  expect((await readTurnHead(store, "c", 1))?.jobId).toBeUndefined();
  expect(await readTurnHead(store, "c", 2)).toBeUndefined();
  const { turns, bytes } = await readSums(store, conversation);
  expect({ turns, bytes }).toEqual({ turns: 2, bytes: 2 * JSON.stringify(asked).length });
});

test("one with a cost limit takes no call of unknown cost, and one that must exist is not begun", async () => {
  const conversation = { id: "c", mustExist: false, maxCostUsd: 0.25 };
  await pushTurn(store, { conversation, messages: asked });
  expect(await redis.hget(store.keys.conversation("c"), "maxCostUsd")).toBe("0.25");
  const unpriced = { conversation, messages: asked, job: jobOf("a"), isUnpriced: true };
  expect(await pushTurn(store, unpriced)).toBe("unpriced");
  await redis.del(store.keys.conversation("c"));
  await expect(pushTurn(store, { conversation, messages: asked })).rejects.toMatchObject({
    code: "unknown_conversation",
  });
});

test("a turn waits for the earlier jobs that have neither an answer nor ended", async () => {
  const conversation = { id: "c", mustExist: false };
  for (const [jobId, deadlineAt] of [
    ["answered", undefined],
    ["late", Date.now() - 2 * MINUTE_MS],
    ["recorded", undefined],
    ["waits", undefined],
  ] as const) {
    await pushTurn(store, { conversation, messages: asked, job: jobOf(jobId, deadlineAt) });
  }
  const position = Number(await pushTurn(store, { conversation, messages: asked, job: jobOf("own") }));
  const waiting = (jobId = "own") => countWaiting(store, jobId, { id: "c", position });
  expect(await waiting()).toBe(3);
  await redis.set(store.keys.result("recorded"), "{}");
  expect(await waiting()).toBe(2);
  await redis.hset(store.keys.conversation("c"), "answer:0", "{}");
  expect(await waiting()).toBe(1);
  // A while after its turn was taken, a job that is in no queue is gone.
  const taken = { ...jobOf("waits"), createdAt: Date.now() - MINUTE_MS };
  await redis.hset(store.keys.conversation("c"), "turn:3", JSON.stringify(taken));
  expect(await waiting()).toBe(0);
  await redis.hset(jobKey(store, QUEUE, "waits"), "timestamp", 1);
  expect(await waiting()).toBe(1);
  expect(await waiting("stranger")).toBeUndefined();
});
