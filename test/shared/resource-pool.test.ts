import { expect, test } from "vitest";
import { ResourcePool } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { openMetrics } from "../../src/telemetry/process-metrics.ts";
import { parsePage, sumOf } from "../support/metrics.ts";

/** Resources with numbers, of which some break. */
function numbered(
  options: Partial<ConstructorParameters<typeof ResourcePool<{ n: number; works: boolean }>>[0]> = {},
) {
  const made: { n: number; works: boolean }[] = [];
  const ended: number[] = [];
  const pool = new ResourcePool<{ n: number; works: boolean }>({
    create: () => {
      const one = { n: made.length, works: true };
      made.push(one);
      return one;
    },
    destroy: ({ n }) => ended.push(n),
    check: ({ works }) => works,
    ...options,
  });
  return { pool, made, ended };
}

test("never more than max at a time, whoever asked first is first, and one may be shared by so many", async () => {
  const { pool, made } = numbered({ max: 2, maxUsers: 2 });
  const order: number[] = [];
  let now = 0;
  let most = 0;
  const use = (i: number) =>
    pool.use(async () => {
      now += 1;
      most = Math.max(most, now);
      order.push(i);
      await new Promise((resolve) => setImmediate(resolve));
      now -= 1;
    });
  await Promise.all(Array.from({ length: 40 }, (_, i) => use(i)));
  expect(made).toHaveLength(2);
  expect(most).toBe(4);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(pool.metrics).toMatchObject({ size: 2, inUse: 0, waiting: 0, created: 2, destroyed: 0 });
  await pool.close();
  expect(pool.metrics).toMatchObject({ size: 0, destroyed: 2 });
  await expect(pool.acquire()).rejects.toMatchObject({ code: "pool_closed" });
});

test("a broken resource is found by its check, or given up by its user, and replaced", async () => {
  const { pool, made, ended } = numbered({ checkAfterMs: 0 });
  await pool.use(() => {});
  (made[0] as { works: boolean }).works = false;
  expect(await pool.use(({ n }) => n)).toBe(1);
  {
    await using lease = await pool.acquire();
    lease.discard();
  }
  expect(await pool.use(({ n }) => n)).toBe(2);
  expect(ended).toEqual([0, 1]);
  expect(pool.metrics).toMatchObject({ created: 3, failedChecks: 1, destroyed: 2, size: 1 });
  // A check that never ends, or throws, counts as broken; a use that failed is checked.
  const strict = numbered({ check: () => Promise.reject(new Error("gone")) });
  await expect(strict.pool.use(() => Promise.reject(new Error("broke")))).rejects.toThrow("broke");
  expect(await strict.pool.use(({ n }) => n)).toBe(1);
});

test("what cannot be made is told to who asked, and tried again after a growing wait; idle ones end", async () => {
  let tries = 0;
  const pool = new ResourcePool({
    create: () => {
      tries += 1;
      if (tries < 3) throw new Error(`no ${tries}`);
      return tries;
    },
    backoffMs: 1,
    idleMs: 1,
  });
  await expect(pool.acquire()).rejects.toThrow("no 1");
  const both = await Promise.allSettled([pool.use((n) => n), pool.use((n) => n)]);
  expect(both.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  await expect.poll(() => pool.metrics.size).toBe(0);
  expect(pool.metrics).toMatchObject({ created: 1, destroyed: 1, failedCreates: 2 });
});

test("who gives up waiting takes nothing, and a pool that closes waits for its uses and tells who waits", async () => {
  const { pool, ended } = numbered();
  const lease = await pool.acquire();
  const gone = new AbortController();
  const [first, second] = [pool.acquire(gone.signal), pool.acquire()];
  gone.abort(new Error("gone"));
  await expect(first).rejects.toThrow("gone");
  const closed = pool.close();
  await expect(second).rejects.toMatchObject({ code: "pool_closed" });
  expect(ended).toEqual([]);
  await lease[Symbol.asyncDispose]();
  await closed;
  expect(ended).toEqual([0]);
});

test("metrics tell of pools that have a name, until they are closed", async () => {
  const { metrics } = loadSettings({ env: { GLUELLM_ENABLE_METRICS: "true" }, cwd: "/" });
  const page = async () => parsePage((await (await openMetrics({ metrics }))?.text()) ?? "");
  const { pool } = numbered({ name: "browsers", max: 2 });
  numbered({ max: 2 });
  const [lease] = await Promise.all([pool.acquire(), pool.use(() => {})]);
  const told = await page();
  const of = (name: string, labels: object) => sumOf(told, name, { pool: "browsers", ...labels });
  expect(of("gluellm_resource_pool", { state: "in_use" })).toBe(1);
  expect(of("gluellm_resource_pool", { state: "idle" })).toBe(1);
  expect(of("gluellm_resource_pool_events", { event: "created" })).toBe(2);
  expect(told.filter(({ labels }) => labels.pool === "")).toEqual([]);
  await lease[Symbol.asyncDispose]();
  await pool.close();
  expect((await page()).filter(({ labels }) => labels.pool !== undefined)).toEqual([]);
});
