import type { Redis } from "ioredis";
import { expect, test } from "vitest";
import { KEY, openLimiter } from "../support/rate-limiter.ts";
import { waitFor } from "../support/wait-for.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Milliseconds until each of the namespace's keys expires; -1: never. */
async function expiries({ redis, namespace }: { redis: Redis; namespace: string }) {
  const keys = await redis.keys(`*{gluellm:${namespace}}*`);
  return Promise.all(keys.map(async (key) => ({ key, ms: await redis.pttl(key) })));
}

async function expireAll(site: { redis: Redis; namespace: string }, ms: number) {
  for (const { key } of await expiries(site)) await site.redis.pexpire(key, ms);
}

test("every key of a budget expires a week after its last use, whatever it was used for", async () => {
  const site = openLimiter({ rpm: 6000, tpm: 600_000, maxInFlight: 5 });
  const first = await site.limiter.acquire(KEY, { tokens: 500 });
  first.settle(10);
  await site.limiter.drain(KEY, 100);
  (await site.limiter.acquire(KEY, { tokens: 500 })).settle(5000);
  await site.limiter.close();
  const left = await expiries(site);

  expect(left.filter(({ ms }) => ms <= 0 || ms > 7 * DAY_MS)).toEqual([]);
  expect(left.filter(({ key, ms }) => key.startsWith("b_") && ms < 6 * DAY_MS)).toEqual([]);
});

test("keys that an earlier version left without an expiry get one with their next use", async () => {
  const site = openLimiter({ rpm: 6000 });
  await site.limiter.acquire(KEY);
  for (const { key } of await expiries(site)) await site.redis.persist(key);
  await site.limiter.acquire(KEY);
  await waitFor("expiries", async () => (await expiries(site)).every(({ ms }) => ms > 0));
});

test("a budget that somebody waits for keeps its state", async () => {
  const site = openLimiter({ rpm: 20 });
  await site.limiter.acquire(KEY);
  const waiting = site.limiter.acquire(KEY);
  const nextAt = () => site.stored("requests", "nextRequest");
  const [redisNow = 0] = (await site.redis.time()).map(Number);
  await waitFor("the second slot is taken", async () => (await nextAt()) > redisNow * 1000 + 5000);
  const before = await nextAt();
  await expireAll(site, 900);
  await waitFor("kept", async () => (await expiries(site)).every(({ ms }) => ms > 6 * DAY_MS));
  await waiting;

  expect(await nextAt()).toBe(before);
});

test("the slot of a limit slower than a week is not forgotten before it is due", async () => {
  const site = openLimiter({ rpm: 1 / (20 * 24 * 60) });
  await site.limiter.acquire(KEY);

  expect((await expiries(site)).filter(({ key, ms }) => key.startsWith("b_") && ms < 20 * DAY_MS)).toEqual(
    [],
  );
});

const ahead = Date.now() + HOUR_MS;

test.each([
  { title: "a bucket", budget: { rpm: 6000 }, fields: { lastReservoirIncrease: ahead, reservoir: 0 } },
  { title: "a paced limit", budget: { rpm: 40 }, fields: { nextRequest: ahead } },
])("$title that was last used by a clock an hour ahead goes on", async ({ budget, fields }) => {
  const site = openLimiter(budget);
  await site.limiter.acquire(KEY);
  await site.redis.hset(`b_{gluellm:${site.namespace}}:limit:${KEY}:requests_settings`, fields);
  await site.limiter.acquire(KEY);
});
