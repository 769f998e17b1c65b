import { hostname } from "node:os";
import { afterAll, beforeEach, expect, test } from "vitest";
import { LEASE_LAPSE_MS, LEASE_LIFE_MS } from "../../src/shared/records.ts";
import {
  cancelBatch,
  hasBatch,
  listBatches,
  readBatch,
  readStop,
  saveBatch,
  startBatch,
  stopBatch,
} from "../../src/store/batch.ts";
import { Lease, readLease } from "../../src/store/batch-lease.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const redis = testRedis();
let store: Store;
beforeEach(() => {
  store = storeOf(redis, testNamespace());
});
afterAll(() => redis.disconnect());

const batch = { id: "b", input: "/in", output: "/out", options: "{}" };
const reason = (code: string) => ({ code, category: "provider" as const, message: code });

test("the first reason to stop stands until the batch is started again", async () => {
  await startBatch(store, { ...batch, maxCostUsd: 2 });
  expect(await readStop(store, "b")).toBeUndefined();
  await stopBatch(store, "b", reason("first"));
  await stopBatch(store, "b", reason("second"));
  expect(await readStop(store, "b")).toEqual(reason("first"));
  await startBatch(store, batch);
  expect(await readStop(store, "b")).toBeUndefined();
  const record = await readBatch(store, "b");
  expect(record).toMatchObject({ status: "in_progress", input: "/in" });
  expect(record?.maxCostUsd).toBeUndefined();
});

test("a cancellation is carried out by the runner, if there is one", async () => {
  await startBatch(store, batch);
  expect(await cancelBatch(store, "b")).toEqual({ status: "cancelled", isNew: true });
  expect(await cancelBatch(store, "b")).toEqual({ status: "cancelled", isNew: false });
  await startBatch(store, batch);
  const lease = await Lease.acquire(store, "b");
  expect(await cancelBatch(store, "b")).toEqual({ status: "cancelling", isNew: true });
  expect(await readStop(store, "b")).toBe("cancelled");
  await lease.release();
});

test("what is saved of a batch that Redis lost does not make it one again", async () => {
  await saveBatch(store, { id: "b", succeeded: 1 });
  expect(await hasBatch(store, "b")).toBe(false);
  expect(await readBatch(store, "b")).toBeUndefined();
  expect(await listBatches(store)).toEqual([]);
  await startBatch(store, batch);
  expect(await hasBatch(store, "b")).toBe(true);
  expect(await listBatches(store)).toMatchObject([{ id: "b", succeeded: 1 }]);
});

test("a lease is one run's until it releases it, lapses, or is known to be dead", async () => {
  const key = store.keys.batchLease("b");
  const elsewhere = { host: "another", pid: 1, startedAt: "1", token: "t" };
  const first = await Lease.acquire(store, "b");
  expect(await readLease(store, "b")).toMatchObject({ host: hostname(), pid: process.pid });
  await expect(Lease.acquire(store, "b")).rejects.toMatchObject({ code: "batch_leased" });
  await first.release();
  expect(await readLease(store, "b")).toBeUndefined();

  await redis.set(key, JSON.stringify(elsewhere), "PX", LEASE_LIFE_MS);
  await expect(Lease.acquire(store, "b")).rejects.toMatchObject({ code: "batch_leased" });
  // Not renewed for as long as that.
  await redis.pexpire(key, LEASE_LIFE_MS - LEASE_LAPSE_MS);
  const second = await Lease.acquire(store, "b");
  await redis.set(key, JSON.stringify(elsewhere), "PX", LEASE_LIFE_MS);
  await second.release();
  expect(await readLease(store, "b")).toEqual(elsewhere);

  // No process of this machine began at that time.
  const dead = { ...elsewhere, host: hostname(), pid: process.pid };
  await redis.set(key, JSON.stringify(dead), "PX", LEASE_LIFE_MS);
  const third = await Lease.acquire(store, "b");
  expect(await readLease(store, "b")).toMatchObject({ pid: process.pid });
  await third.release();
});
