import { beforeEach, expect, test } from "vitest";
import { WORKFLOW_QUEUE } from "../../src/shared/catalog.ts";
import { jobLockKey } from "../../src/store/bullmq-internals.ts";
import { endCount } from "../../src/store/error-counts.ts";
import { appendEntries, notifyRun, runJournalLength } from "../../src/store/run-journal.ts";
import { finishRun, type RunLock, suspendRun } from "../../src/store/run-turn.ts";
import type { Store } from "../../src/store/store.ts";
import { bullmqQueue, TOKEN } from "../support/bullmq.ts";

const ENDED = { type: "ended", step: "s", at: 1 } as const;

let store: Store;
let queue: ReturnType<typeof bullmqQueue>["queue"];
let lock: RunLock;

/** A run that a worker has. */
beforeEach(async () => {
  const bullmq = bullmqQueue(WORKFLOW_QUEUE);
  ({ store, queue } = bullmq);
  await store.redis.hset(store.keys.workflow("run"), { id: "run", status: "running" });
  await bullmq.activeJob("run");
  lock = { store, queue: WORKFLOW_QUEUE, runId: "run", token: TOKEN, lockMs: 30_000 };
});

/** What a run's end counts as. */
const counted = ({ store, queue }: RunLock) =>
  endCount(store, { model: undefined, queue, tenant: "default" }, { errorsMs: 3_600_000 });

test("a run does not fall asleep over what it has not seen", async () => {
  expect(await notifyRun(store, "run", ENDED)).toBe("noted");
  expect(await suspendRun(lock, 0, undefined, [])).toBe("news");
  expect(await suspendRun(lock, 1, undefined, [])).toBe("suspended");
});

test("a worker that lost the run changes nothing of it", async () => {
  const stranger = { ...lock, token: "stranger" };
  expect(await appendEntries(stranger, 0, [ENDED])).toBe("fenced");
  expect(await suspendRun(stranger, 0, undefined, [])).toBe("fenced");
  expect(await finishRun(stranger, ["status", "succeeded"], false, counted(stranger))).toBe("fenced");
  expect(await runJournalLength(store, "run")).toBe(0);
  expect(await queue.getJobState("run")).toBe("active");
  expect(await store.redis.get(jobLockKey(store, WORKFLOW_QUEUE, "run"))).toBe(TOKEN);
});

test("a lock that ran out is the worker's still while nobody else has the run", async () => {
  const lockKey = jobLockKey(store, WORKFLOW_QUEUE, "run");
  const lockedBy = () => store.redis.get(lockKey);
  await store.redis.del(lockKey);
  expect(await appendEntries(lock, 0, [ENDED])).toEqual([ENDED]);
  expect(await lockedBy()).toBe(TOKEN);
  expect(await store.redis.pttl(lockKey)).toBeGreaterThan(0);
  expect(await queue.getJobState("run")).toBe("active");
  // BullMQ has given it to others, who have not taken it yet.
  await store.redis.del(lockKey);
  await store.redis.lrem(queue.toKey("active"), 0, "run");
  await store.redis.lpush(queue.toKey("wait"), "run");
  expect(await appendEntries(lock, 0, [ENDED])).toBe("fenced");
  expect(await lockedBy()).toBe(null);
});

test("an ended run takes nothing more", async () => {
  expect(await finishRun(lock, ["status", "succeeded"], false, counted(lock))).toBe("finished");
  expect(await notifyRun(store, "run", ENDED)).toBe("over");
  expect(await appendEntries(lock, 0, [ENDED])).toBe("over");
});
