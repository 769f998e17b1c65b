import { afterAll, beforeEach, expect, test } from "vitest";
import type { CompletionPayload } from "../../src/shared/catalog.ts";
import { emptyRecord } from "../../src/shared/records.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { saveBatch, startBatch } from "../../src/store/batch.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { announceAlert, announceJob, endHistory, keepHistory } from "../../src/store/outbox.ts";
import { type OutboxEvent, readOutboxEvent } from "../../src/store/outbox-event.ts";
import { cancelRecord, writeRecord } from "../../src/store/result-record.ts";
import { notifyRun } from "../../src/store/run-journal.ts";
import { beginRun } from "../../src/store/run-start.ts";
import { putSchedule } from "../../src/store/schedule.ts";
import { beginTrigger, noteStart, takeTicks } from "../../src/store/schedule-ticks.ts";
import { createServedBatch, moveServedBatch } from "../../src/store/served-batch.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const QUEUE = "completions.test.m";
const provider = { entry: "test", fingerprint: "f" };
const { retention } = loadSettings({ env: {}, cwd: "/" });
const redis = testRedis();
let store: Store;
beforeEach(() => {
  store = storeOf(redis, testNamespace());
});
afterAll(() => redis.disconnect());

const HISTORY = { forMs: 60_000, maxEntries: 1000 };

async function written(stream: string): Promise<OutboxEvent[]> {
  const entries = await redis.xrange(stream, "-", "+");
  return entries.map(([, fields]) => readOutboxEvent(fields)).filter((event) => event !== undefined);
}

/** Types of the events that the history and the webhooks have. */
async function types(): Promise<{ history: string[]; webhooks: string[] }> {
  const [history, webhooks] = [store.keys.outboxHistory, store.keys.outboxWebhooks].map(written);
  return {
    history: ((await history) ?? []).map(({ type }) => type),
    webhooks: ((await webhooks) ?? []).map(({ type }) => type),
  };
}

async function ends(id: string, status: "succeeded" | "failed", more: Partial<CompletionPayload> = {}) {
  await redis.hset(jobKey(store, QUEUE, id), "timestamp", 1);
  const payload = { provider, model: "m", ...more } as CompletionPayload;
  const record = {
    ...emptyRecord(id, payload, status),
    tokens: { prompt: 10, completion: 5, total: 15, cached: 2 },
    costUsd: 0.0123456,
    ...(status === "failed" && {
      error: { code: "server_error", category: "server", message: "secret", attempts: 3 } as never,
    }),
  };
  const course = { createdAt: 1_700_000_000_000, startedAt: 1_700_000_000_500, waits: 2 };
  return writeRecord(store, { queue: QUEUE, token: "mine", payload, record, course, retention });
}

test("nothing is written where nobody reads, and once the history's time is over", async () => {
  await ends("a", "succeeded");
  await announceAlert(store, { id: "x", state: "firing" });
  expect(await types()).toEqual({ history: [], webhooks: [] });
  expect(await redis.exists(store.keys.outbox)).toBe(0);
  await keepHistory(store, { ...HISTORY, forMs: -1000 });
  await ends("b", "succeeded");
  expect(await types()).toEqual({ history: [], webhooks: [] });
  await keepHistory(store, HISTORY);
  await ends("c", "succeeded");
  await endHistory(store);
  await ends("d", "succeeded");
  expect((await types()).history).toEqual(["job.completed"]);
});

test("a job's end has its figures, and no word of what was asked or answered", async () => {
  await keepHistory(store, HISTORY);
  const batch = { id: "batch-1", line: 7, customId: "row-7" };
  await ends("a", "failed", { batch, tenant: "acme", by: "gk_1" });
  expect(await ends("a", "failed", { batch, tenant: "acme" })).toBe("written");
  const [first, second] = await written(store.keys.outboxHistory);
  expect(first).toMatchObject({ kind: "job", id: "a", tenant: "acme", state: "failed", type: "job.failed" });
  expect(first?.figures).toEqual({
    ...{ queue: QUEUE, entry: "test", model: "m", lane: "online", by: "gk_1" },
    ...{ batchId: "batch-1", customId: "row-7", line: 7 },
    ...{ promptTokens: 10, cachedTokens: 2, outputTokens: 5, reasoningTokens: 0, isEstimated: false },
    ...{ costUsd: 0.0123456, costMicroUsd: 12346 },
    ...{ createdAt: 1_700_000_000_000, startedAt: 1_700_000_000_500, waits: 2 },
    ...{ latencyMs: 0, attempts: 1, calls: 0, fromCache: false, errorCode: "server_error" },
  });
  expect(second?.version).toBeGreaterThan(first?.version ?? Number.POSITIVE_INFINITY);
  expect(Math.abs((first?.endedAt ?? 0) - Date.now())).toBeLessThan(60_000);
  expect(JSON.stringify(await redis.xrange(store.keys.outboxHistory, "-", "+"))).not.toContain("secret");
});

test("jobs that are cancelled, or that nobody could read", async () => {
  await keepHistory(store, HISTORY);
  const payload = { provider, model: "m", tenant: "acme" } as CompletionPayload;
  await redis.hset(jobKey(store, QUEUE, "a"), "timestamp", 1);
  await cancelRecord(store, QUEUE, payload, emptyRecord("a", payload, "cancelled"));
  await announceJob(store, { id: "b", queue: QUEUE, errorCode: "invalid_payload", attempts: 1 });
  const events = await written(store.keys.outboxHistory);
  expect(events.map(({ type, tenant }) => [type, tenant])).toEqual([
    ["job.cancelled", "acme"],
    ["job.failed", "default"],
  ]);
});

test("webhooks get what their own tenant asked for alone", async () => {
  await redis.hset(store.keys.outbox, "webhooks:acme", "|job.failed|batch.*|", "webhooks:default", "|*|");
  await ends("a", "succeeded", { tenant: "acme" });
  await ends("b", "failed", { tenant: "acme" });
  await ends("c", "failed", { tenant: "other" });
  await saveBatch(store, { id: "b-1", status: "completed", tenant: "acme" });
  await announceAlert(store, { id: "x", state: "firing", name: "QueueStalled", labels: { queue: "q" } });
  const events = await written(store.keys.outboxWebhooks);
  expect(events.map(({ type, id }) => [type, id])).toEqual([
    ["job.failed", "b"],
    ["batch.completed", "b-1"],
    ["alert.firing", "x"],
  ]);
  expect(events.at(-1)?.figures).toEqual({ name: "QueueStalled", labels: { queue: "q" } });
  expect((await types()).history).toEqual([]);
});

test("each state of a batch is told once, by its record of the API where there is one", async () => {
  await keepHistory(store, HISTORY);
  const describe = { id: "b-1", input: "in", output: "out", options: "{}", maxCostUsd: undefined };
  await startBatch(store, { ...describe, tenant: "acme" });
  await startBatch(store, describe);
  await saveBatch(store, { id: "b-1", total: 3, succeeded: 2, failed: 1, completionTokens: 9, costUsd: 0.5 });
  await saveBatch(store, { id: "b-1", status: "completed" });
  const served = { id: "batch_1", tenant: "acme", endpoint: "/v1/embeddings" as const, metadata: undefined };
  const files = { inputFileId: "file-1", outputFileId: "file-2", errorFileId: "file-3" };
  const window = { completionWindow: "24h", outputLifeSeconds: 1, createdAt: 5, expiresAt: Date.now() + 1e6 };
  await createServedBatch(store, { ...served, ...files, ...window, by: "gk_1", needsPrices: undefined });
  await moveServedBatch(store, "batch_1", { from: ["validating"], to: "in_progress" });
  await startBatch(store, { ...describe, id: "batch_1" });
  await saveBatch(store, { id: "batch_1", status: "completed", total: 4 });
  await moveServedBatch(store, "batch_1", { from: ["validating"], to: "failed" });
  await moveServedBatch(store, "batch_1", { from: ["in_progress"], to: "completed" });
  const events = await written(store.keys.outboxHistory);
  expect(events.map(({ id, type, tenant }) => [id, type, tenant])).toEqual([
    ["b-1", "batch.in_progress", "acme"],
    ["b-1", "batch.completed", "acme"],
    ["batch_1", "batch.validating", "acme"],
    ["batch_1", "batch.in_progress", "acme"],
    ["batch_1", "batch.completed", "acme"],
  ]);
  const sums = { total: 3, succeeded: 2, failed: 1, outputTokens: 9, costUsd: 0.5, costMicroUsd: 500_000 };
  expect(events[1]?.figures).toMatchObject(sums);
  expect(events[4]?.figures).toMatchObject({
    total: 4,
    endpoint: "/v1/embeddings",
    by: "gk_1",
    createdAt: 5,
  });
});

test("a run's end, once", async () => {
  await keepHistory(store, HISTORY);
  const run = { id: "run-1", workflow: "report", version: 3, status: "running", tenant: "acme", seed: "s" };
  const deadlineAt = Date.now() + 60_000;
  await beginRun(store, { ...run, digest: "d", input: "null", createdAt: 7, deadlineAt, costUsd: 0.25 }, []);
  const error = JSON.stringify({ code: "cancelled", message: "secret" });
  const end = ["status", "cancelled", "finishedAt", "8", "error", error];
  expect(await notifyRun(store, "run-1", { type: "cancelled", at: 8 }, end)).toBe("noted");
  expect(await notifyRun(store, "run-1", { type: "cancelled", at: 8 }, end)).toBe("over");
  const events = await written(store.keys.outboxHistory);
  expect(events).toHaveLength(1);
  expect(events[0]).toMatchObject({ type: "run.cancelled", state: "cancelled", tenant: "acme", id: "run-1" });
  expect(events[0]?.figures).toMatchObject({
    ...{ workflow: "report", codeVersion: 3, createdAt: 7, costMicroUsd: 250_000, errorCode: "cancelled" },
  });
});

test("what becomes of a schedule's ticks", async () => {
  await keepHistory(store, HISTORY);
  const definition = { digest: "d", timing: "t", definition: "{}" };
  await putSchedule(store, { id: "s", tenant: "acme", ...definition });
  await beginTrigger(store, "s", "k1", 1000);
  await noteStart(store, "s", "k1", { run: { kind: "workflow", id: "run-1", queue: "" } });
  await beginTrigger(store, "s", "k2", 2000);
  await noteStart(store, "s", "k2", { error: "unknown_workflow" });
  const doneUntil = Number(await redis.hget(store.keys.schedule("s"), "doneUntil"));
  const due = { doneUntil, until: doneUntil + 5, areCaughtUp: false, missed: 2, firstMissed: doneUntil + 1 };
  await beginTrigger(store, "s", "k3", 3000);
  await takeTicks(store, "s", "job", {
    ...due,
    run: [doneUntil + 3, doneUntil + 4],
    overlap: "skip",
    maxWaiting: 10,
  });
  const events = await written(store.keys.outboxHistory);
  expect(events.map(({ type }) => type)).toEqual([
    ...["schedule.started", "schedule.failed", "schedule.missed", "schedule.skipped", "schedule.skipped"],
  ]);
  expect(events[0]?.figures).toEqual({ plannedAt: 1000, count: 1, startedId: "run-1" });
  expect(events[2]?.figures).toEqual({ plannedAt: doneUntil + 1, count: 2 });
  expect(new Set(events.map(({ version }) => version)).size).toBe(5);
  expect(events.every(({ tenant, id }) => tenant === "acme" && id === "s")).toBe(true);
});

test("the history drops its oldest over its limit; the webhooks lose nothing", async () => {
  await keepHistory(store, { ...HISTORY, maxEntries: 100 });
  await redis.hset(store.keys.outbox, "webhooks:default", "|alert.*|");
  for (let n = 0; n < 300; n++) await announceAlert(store, { id: `a-${n}`, state: "firing" });
  expect(await redis.xlen(store.keys.outboxHistory)).toBeLessThan(210);
  expect(await redis.xlen(store.keys.outboxWebhooks)).toBe(300);
});

test("a damaged outbox keeps no end from being written; damaged and later entries are passed over", async () => {
  await redis.set(store.keys.outbox, "no hash");
  expect(await ends("a", "succeeded")).toBe("written");
  await redis.del(store.keys.outbox);
  await keepHistory(store, HISTORY);
  await redis.set(store.keys.outboxHistory, "no stream");
  expect(await ends("b", "succeeded")).toBe("written");
  expect(readOutboxEvent(["v", "2", "kind", "job"])).toBeUndefined();
  expect(readOutboxEvent(["v", "1", "kind", "job", "id"])).toBeUndefined();
  expect(readOutboxEvent([])).toBeUndefined();
  const base = {
    v: "1",
    version: "1",
    kind: "job",
    id: "a",
    state: "failed",
    type: "job.failed",
    endedAt: "1",
  };
  const event = readOutboxEvent(Object.entries({ ...base, figures: '{"attempts":"x"' }).flat());
  expect(event).toMatchObject({ tenant: "default", figures: { attempts: 0, costMicroUsd: null } });
});
