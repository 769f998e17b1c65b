import type { Job } from "bullmq";
import { beforeEach, describe, expect, test } from "vitest";
import type { Urgency } from "../../src/shared/catalog.ts";
import { saveTenant } from "../../src/store/tenant.ts";
import { type Sharers, TenantShares } from "../../src/store/tenant-shares.ts";
import { bullmqQueue, TOKEN } from "../support/bullmq.ts";

const NAME = "completions.test.m";

let store: ReturnType<typeof bullmqQueue>["store"];
let queue: ReturnType<typeof bullmqQueue>["queue"];
let shares: TenantShares;
let next: () => Promise<Job | undefined>;

beforeEach(() => {
  const made = bullmqQueue(NAME);
  ({ store, queue } = made);
  shares = new TenantShares(store);
  const worker = made.worker();
  next = async () => (await worker.getNextJob(TOKEN, { block: false })) as Job | undefined;
});

interface Adding extends Partial<Sharers> {
  tokensEach?: number;
}

async function add(
  count: number,
  tenant: string,
  { tokensEach = 1000, ...more }: Adding = {},
): Promise<number[]> {
  const urgency: Urgency = more.urgency ?? "interactive";
  const tokens = () => Array<number>(count).fill(tokensEach);
  const priorities = await shares.take({ queue: NAME, tenant, ...more, urgency, tokens });
  const name = more.batchId ?? tenant;
  await queue.addBulk(priorities?.map((priority) => ({ name, data: {}, opts: { priority } })) ?? []);
  return priorities ?? [];
}

/** Takes jobs and ends them; returns whose they were, in order. */
async function serve(count: number): Promise<string[]> {
  const served: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const job = await next();
    if (!job) break;
    served.push(job.name);
    await job.moveToCompleted("", TOKEN, false);
  }
  return served;
}

const countOf = (served: readonly string[], name: string) => served.filter((who) => who === name).length;

test("nobody takes a place while there is no tenant but the default one, and it shares as soon as there is", async () => {
  const none = { queue: NAME, urgency: "interactive", tokens: () => [1] } as const;
  expect(await shares.take(none)).toBeUndefined();
  await add(1, "red");
  expect(await shares.take(none), "it believes what it read for a while").toBeUndefined();
  expect(await new TenantShares(store).take(none)).toEqual([1]);
});

test("many jobs of one tenant stand beside the few of others, not before them", async () => {
  await add(500, "large");
  const small = ["a", "b", "c", "d", "e"];
  for (const tenant of small) await add(4, tenant);
  const served = await serve(30);
  for (const tenant of small) expect(countOf(served, tenant), tenant).toBe(4);
  // The small ones have ended: the large one has all.
  expect(new Set(await serve(50))).toEqual(new Set(["large"]));
});

test("who comes later begins where the queue is, and has no claim on the time before", async () => {
  await add(200, "early");
  await serve(100);
  await add(100, "late");
  const served = await serve(60);
  expect(countOf(served, "late")).toBeGreaterThan(27);
  expect(countOf(served, "early")).toBeGreaterThan(27);
});

test("who had the queue for itself has no debts when another comes", async () => {
  await add(1, "sleeper", { tokensEach: 100 });
  const held = await next();
  for (let n = 0; n < 50; n += 1) {
    await add(1, "lone");
    await serve(1);
  }
  await add(40, "lone");
  await add(40, "other");
  const served = await serve(40);
  expect(countOf(served, "lone")).toBeGreaterThan(17);
  expect(countOf(served, "other")).toBeGreaterThan(17);
  expect(held).toBeDefined();
});

test("large jobs take more of a tenant's part than small ones", async () => {
  await add(60, "wordy", { tokensEach: 4000 });
  await add(60, "brief", { tokensEach: 1000 });
  const served = await serve(50);
  expect(countOf(served, "brief") / countOf(served, "wordy")).toBeGreaterThan(3);
});

test("a weight is a tenant's part, and may be changed in mid-run", async () => {
  await saveTenant(store, "gold", { weight: 3 });
  await add(100, "gold");
  await add(100, "plain");
  const served = await serve(80);
  expect(countOf(served, "gold")).toBeGreaterThanOrEqual(58);
  expect(countOf(served, "plain")).toBeGreaterThanOrEqual(19);

  await saveTenant(store, "plain", { weight: 30 });
  await serve(120);
  await add(100, "gold");
  await add(100, "plain");
  expect(countOf(await serve(100), "plain")).toBeGreaterThan(85);
});

test.each([0, -1, Number.NaN, 5000])("a weight of %d is refused", async (weight) => {
  await expect(saveTenant(store, "gold", { weight })).rejects.toThrow("weight of tenant gold is wrong");
});

test("a weight that somebody damaged is that of everybody, and stops nothing", async () => {
  await store.redis.hset(store.keys.tenants, "gold", "no JSON");
  expect(await add(2, "gold")).toEqual([1, 2]);
});

describe("rows of batches", () => {
  test("come after all interactive jobs", async () => {
    await add(5, "red", { urgency: "batch", batchId: "b1" });
    await add(5, "blue");
    expect(await serve(10)).toEqual([...Array(5).fill("blue"), ...Array(5).fill("b1")]);
  });

  test("share their tenant's part: whoever makes more batches gets no more", async () => {
    const batch = { urgency: "batch", tokensEach: 5000 } as const;
    for (const batchId of ["a1", "a2", "a3"]) await add(30, "a", { ...batch, batchId });
    await add(30, "b", { ...batch, batchId: "b1" });
    // A window fills again while it is worked on.
    const served: string[] = [];
    for (let round = 0; round < 14; round += 1) {
      const taken = await serve(20);
      // What was sent before there were others has its place.
      if (round >= 6) served.push(...taken);
      for (const batchId of ["a1", "a2", "a3"]) await add(5, "a", { ...batch, batchId });
      await add(10, "b", { ...batch, batchId: "b1" });
    }
    const ofB = countOf(served, "b1") / served.length;
    expect(ofB).toBeGreaterThan(0.42);
    for (const batchId of ["a1", "a2", "a3"]) expect(countOf(served, batchId)).toBeGreaterThan(10);
  });
});

test("when the places of a class are used up, its jobs come in their order until none waits, and then it begins anew", async () => {
  const [, far = 0] = await add(2, "red", { tokensEach: 900_000_000 });
  expect(far).toBe(900_001);
  expect(await add(3, "red", { tokensEach: 900_000_000 })).toEqual([1_000_000, 1_000_000, 1_000_000]);
  await serve(4);
  expect(await add(1, "blue")).toEqual([1_000_000]);
  await serve(2);
  expect(await add(1, "blue")).toEqual([1]);
});

test("equal tenants with a load at all times get equal parts", async () => {
  const tenants = Array.from({ length: 10 }, (_, n) => `t${n}`);
  for (const [n, tenant] of tenants.entries()) await add(20 + 15 * n, tenant, { tokensEach: 700 });
  const served = await serve(200);
  const parts = tenants.map((tenant) => countOf(served, tenant));
  const sum = parts.reduce((all, part) => all + part, 0);
  const squares = parts.reduce((all, part) => all + part * part, 0);
  expect((sum * sum) / (parts.length * squares), "Jain's index").toBeGreaterThan(0.95);
});
