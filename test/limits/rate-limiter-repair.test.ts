import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { ensureEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { RateLimiterClosedError } from "../../src/shared/unsent-errors.ts";
import { KEY, openLimiter } from "../support/rate-limiter.ts";
import { redisOptions, serverPid, withClient } from "../support/redis-folders.ts";
import { startStrictProvider } from "../support/strict-provider.ts";
import { waitFor } from "../support/wait-for.ts";

const LIMITS = { rpm: 1200, tpm: 120_000 };

/** A Redis of this test's own, with eight slots that send to a strict provider until the test ends. */
async function openBusySite() {
  const options = redisOptions();
  const { socketPath } = await ensureEmbeddedRedis(options);
  const redis = new Redis({ path: socketPath, maxRetriesPerRequest: null });
  redis.on("error", () => {});
  const provider = await startStrictProvider(LIMITS);
  // As a worker process has it: the limiter's connections are the process's.
  const subscriber = redis.duplicate();
  subscriber.on("error", () => {});
  const { limiter } = openLimiter(LIMITS, { redis, subscriber });
  const ending = new AbortController();
  const slots = Array.from({ length: 8 }, async () => {
    while (!ending.signal.aborted) {
      const reservation = await limiter.acquire(KEY, { tokens: 90, signal: ending.signal });
      await fetch(provider.url, { method: "POST", headers: { "x-tokens": "90" } });
      reservation.settle(90);
    }
  });
  onTestFinished(async () => {
    ending.abort();
    await Promise.allSettled(slots);
    await limiter.close();
    await provider.close();
  });
  const sendsMore = async (count: number) => {
    const before = provider.seen.accepted;
    await waitFor(`${count} more requests`, () => provider.seen.accepted >= before + count);
  };
  return { options, socketPath, seen: provider.seen, sendsMore };
}

describe("a fleet under load goes on, within the limits", () => {
  test("after FLUSHALL", async () => {
    const { socketPath, seen, sendsMore } = await openBusySite();
    await sendsMore(20);
    await withClient(socketPath, (redis) => redis.flushall());
    await sendsMore(20);

    expect(seen.rejected).toBe(0);
  });

  test("after FLUSHALL while all wait in a paced limit", async () => {
    const options = redisOptions();
    const { socketPath } = await ensureEmbeddedRedis(options);
    const { limiter } = openLimiter(
      { rpm: 40 },
      { redis: new Redis({ path: socketPath, maxRetriesPerRequest: null }) },
    );
    await limiter.acquire(KEY, { tokens: 0 });
    const waiting = [limiter.acquire(KEY, { tokens: 0 }), limiter.acquire(KEY, { tokens: 0 })];
    await withClient(socketPath, (redis) => redis.flushall());
    await Promise.all(waiting);
  });

  test.each([
    { title: "killed and restarted", isEmptied: false },
    { title: "killed and restarted without its data", isEmptied: true },
  ])("after Redis was $title", async ({ isEmptied }) => {
    const { options, socketPath, seen, sendsMore } = await openBusySite();
    await sendsMore(20);
    process.kill(await serverPid(socketPath), "SIGKILL");
    if (isEmptied) rmSync(join(options.dataDir, "redis", "appendonlydir"), { recursive: true });
    await ensureEmbeddedRedis(options);
    await sendsMore(20);

    expect(seen.rejected).toBe(0);
  });
});

test("closing while Redis is gone ends", async () => {
  const options = redisOptions();
  const { socketPath } = await ensureEmbeddedRedis(options);
  const redis = new Redis({ path: socketPath, maxRetriesPerRequest: null });
  redis.on("error", () => {});
  const { limiter } = openLimiter({ rpm: 600, tpm: 600 }, { redis });
  const { settle } = await limiter.acquire(KEY, { tokens: 1 });
  const waiting = expect(limiter.acquire(KEY, { tokens: 600 })).rejects.toThrow(RateLimiterClosedError);
  process.kill(await serverPid(socketPath), "SIGKILL");
  await once(redis, "close");
  settle(3);
  await limiter.close();
  await waiting;
});
