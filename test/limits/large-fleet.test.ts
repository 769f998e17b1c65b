import { describe, expect, onTestFinished, test } from "vitest";
import { BucketConnection } from "../../src/limits/rate-limiter/bottleneck.ts";
import { bucketSettings } from "../../src/limits/rate-limiter/bucket-settings.ts";
import { FleetBucket } from "../../src/limits/rate-limiter/fleet-bucket.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const HOUR_MS = 3_600_000;
/** 50 a second: 35 in the bucket, 15 left free, three bought at once. */
const SETTINGS = bucketSettings(3000, 1, 50, 1);

/** A bucket that so many other processes have open, and that holds 30 units. */
async function openWith(others: number, settings = SETTINGS) {
  const redis = testRedis();
  const subscriber = testRedis();
  const connection = new BucketConnection(redis, subscriber);
  const id = `{gluellm:${testNamespace()}}:limit`;
  const names = Array.from({ length: others }, (_, n) => [String(Date.now() + HOUR_MS), `other-${n}`]).flat();
  if (others > 0) await redis.zadd(`b_${id}_client_last_seen`, ...names);
  const bucket = new FleetBucket(connection, id, settings);
  await bucket.open(true, () => {});
  onTestFinished(async () => {
    await bucket.release();
    await connection.close();
    redis.disconnect();
    subscriber.disconnect();
  });
  const setLevel = (reservoir: number) => redis.hset(`b_${id}_settings`, { reservoir });
  await setLevel(30);
  const own = (await redis.zrange(`b_${id}_client_last_seen`, "0", "-1")).find(
    (name) => !name.startsWith("other"),
  );
  return { bucket, own, redis, connection, channel: `b_${id}`, setLevel };
}

/** How often a message is heard in a thousand times, as it is or in other words. */
function hearings(bucket: FleetBucket, message: string): Map<string | undefined, number> {
  const counts = new Map<string | undefined, number>();
  for (let i = 0; i < 1000; i++) {
    const heard = bucket.heard(message);
    counts.set(heard, (counts.get(heard) ?? 0) + 1);
  }
  return counts;
}

describe("a process of a thousand", () => {
  test("watches over few words to others, and always hears its own", async () => {
    const { bucket, own } = await openWith(999);
    expect(hearings(bucket, `capacity-priority:12:${own}:7`)).toEqual(
      new Map([[`capacity-priority:12:${own}:7`, 1000]]),
    );
    // Four are expected; so many come once in 10^12 times.
    expect(
      hearings(bucket, "capacity-priority:12:other-1:7").get("capacity-priority:12:other-1:7") ?? 0,
    ).toBeLessThan(30);
    expect(hearings(bucket, "capacity:12").get("capacity:12") ?? 0).toBeLessThan(30);
  });

  test("hears that an answer came, and mostly asks for nothing of what is left", async () => {
    const { bucket } = await openWith(999);
    const counts = hearings(bucket, "capacity-priority:12::7");
    expect(counts.get("capacity-priority:12::7") ?? 0).toBeLessThan(30);
    expect(counts.get("capacity-priority:0::7")).toBeGreaterThan(970);
  });

  test.each(["capacity:", "blocked:", "message:changed", "message:a:b:c"])(
    "always hears %j",
    async (message) => {
      const { bucket } = await openWith(999);
      expect(hearings(bucket, message)).toEqual(new Map([[message, 1000]]));
    },
  );
});

test("a process that waits beside a full bucket hears all, as the word for it was lost", async () => {
  const { bucket, redis, connection, channel, setLevel } = await openWith(99);
  connection.join(channel, {
    heard: (message) => (message.startsWith("capacity-priority") ? undefined : bucket.heard(message)),
  });
  await setLevel(-5);
  const buying = bucket.buy(50);
  await waitFor("it waits", async () => (await redis.hvals(`${channel}_client_num_queued`)).includes("1"));
  await setLevel(30);
  await waitFor("its look", () => hearings(bucket, "capacity:30").get("capacity:30") === 1000);
  await redis.publish(channel, "capacity:30");
  expect(await buying).toBe(1);
});

test.each(["capacity:12", "capacity-priority:12:other-1:7", "capacity-priority:12::7"])(
  "a process of three hears %j as it is",
  async (message) => {
    const { bucket } = await openWith(2);
    expect(hearings(bucket, message)).toEqual(new Map([[message, 1000]]));
  },
);

test.each([
  { others: 0, units: 3, settings: SETTINGS },
  { others: 4, units: 3, settings: SETTINGS },
  { others: 6, units: 2, settings: SETTINGS },
  { others: 49, units: 1, settings: SETTINGS },
  // A call of many tokens is not paid in parts.
  { others: 49, units: 3, settings: bucketSettings(3000, 1, 50) },
])("beside $others others it buys $units at once", async ({ others, units, settings }) => {
  const { bucket } = await openWith(others, settings);
  expect(await bucket.buy(50)).toBe(units);
});

test("a process that need not wait buys more each time", async () => {
  const { bucket } = await openWith(49, { ...SETTINGS, quantum: 5 });
  const bought: number[] = [];
  // A purchase that a busy machine makes slow begins anew.
  await waitFor("the whole quantum", async () => {
    bought.push(await bucket.buy(50));
    return bought.at(-1) === 5;
  });
  expect(bought.slice(-4)).toEqual([1, 2, 4, 5]);
});
