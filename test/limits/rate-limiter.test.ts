import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { TokenLimitError } from "../../src/shared/errors.ts";
import { BudgetExceededError, RateLimiterClosedError } from "../../src/shared/unsent-errors.ts";
import { connectionsOf, KEY, openLimiter } from "../support/rate-limiter.ts";
import { waitFor } from "../support/wait-for.ts";

/** A bucket of 582 tokens that refills by 10 a second: what moves faster was given back. */
const SLOW = { tpm: 600, burstSeconds: 60 };

describe("without waiting", () => {
  test("no budget: no connection, no wait", async () => {
    const site = openLimiter(undefined);
    const reservation = await site.limiter.acquire(KEY, { tokens: 1e9 });
    reservation.settle(5);
    reservation.cancel();

    expect(reservation.waitedMs).toBe(0);
    expect(site.limiter.predictedWaitMs(KEY, { tokens: 1000 })).toBe(0);
    expect(await connectionsOf(site)).toBe(1);
  });

  test("all limits of a process share two connections, which end with it", async () => {
    const site = openLimiter({ rpm: 6000, tpm: 600_000 });
    for (const key of ["openai:a", "openai:b", "anthropic:c"])
      await site.limiter.acquire(key, { tokens: 10 });
    expect(await connectionsOf(site)).toBe(3);

    await site.limiter.close();
    await waitFor("connections closed", async () => (await connectionsOf(site)) === 1);
  });

  test("a request larger than a minute's tokens is refused at once", async () => {
    const site = openLimiter({ tpm: 1000 });
    const refused = site.limiter.acquire(KEY, { tokens: 1001 });

    await expect(refused).rejects.toThrow(BudgetExceededError);
    await expect(refused).rejects.toThrow(/1001 tokens can never be sent.*openai:model is 1000/);
    await expect(refused).rejects.toBeInstanceOf(TokenLimitError);
    expect(await connectionsOf(site)).toBe(1);
  });

  test("an estimate that is no number costs a request and no tokens", async () => {
    const { limiter } = openLimiter({ rpm: 6000, tpm: 600_000 });
    const reservation = await limiter.acquire(KEY, { tokens: Number.NaN });
    reservation.settle(Number.NaN);
  });
});

describe("the line", () => {
  test("interactive before batch, first come first served within each, large ones not overtaken", async () => {
    const { limiter } = openLimiter({ rpm: 600, tpm: 60_000 });
    const order: string[] = [];
    const send = async (name: string, tokens: number, priority?: number) => {
      await limiter.acquire(KEY, { tokens, priority });
      order.push(name);
    };
    await Promise.all([
      send("large batch", 600),
      send("batch", 10, 10),
      send("late batch", 10, 20),
      send("interactive", 10, 0),
      send("second interactive", 10, 0),
      send("last batch", 10),
    ]);

    expect(order).toEqual([
      "interactive",
      "second interactive",
      "large batch",
      "batch",
      "last batch",
      "late batch",
    ]);
  });

  test("an aborted request leaves the line and what was bought for it goes back to the fleet", async () => {
    const site = openLimiter(SLOW);
    await site.limiter.acquire(KEY, { tokens: 1 });
    await site.fill("tokens", 300);
    const leaving = new AbortController();
    const aborted = site.limiter.acquire(KEY, { tokens: 500, signal: leaving.signal });
    await waitFor("the bucket is empty", async () => (await site.stored("tokens", "reservoir")) < 20);
    leaving.abort(new Error("job cancelled"));

    await expect(aborted).rejects.toThrow("job cancelled");
    await waitFor("tokens given back", async () => (await site.stored("tokens", "reservoir")) > 290);
    await expect(site.limiter.acquire(KEY, { tokens: 1, signal: leaving.signal })).rejects.toThrow(
      "job cancelled",
    );
  });

  test("a cancelled reservation gives its tokens back, once", async () => {
    const site = openLimiter(SLOW);
    await site.limiter.acquire(KEY, { tokens: 1 });
    await site.fill("tokens", 400);
    const reservation = await site.limiter.acquire(KEY, { tokens: 390 });
    expect(await site.stored("tokens", "reservoir")).toBeLessThan(100);
    reservation.cancel();
    reservation.cancel();
    reservation.settle(0);

    await waitFor("tokens given back", async () => (await site.stored("tokens", "reservoir")) > 390);
    expect(await site.stored("tokens", "reservoir")).toBeLessThan(500);
  });

  test("what would overfill the bucket is discarded", async () => {
    const site = openLimiter(SLOW);
    await site.limiter.acquire(KEY, { tokens: 1 });
    await site.fill("tokens", 400);
    const reservation = await site.limiter.acquire(KEY, { tokens: 390 });
    await site.fill("tokens", 500);
    reservation.cancel();

    await waitFor("the bucket is full", async () => (await site.stored("tokens", "reservoir")) === 582);
  });
});

describe("settling", () => {
  test("what was overestimated pays for later requests", async () => {
    const { limiter } = openLimiter({ tpm: 60_000 });
    // 1,000,000 tokens as estimated would take 16 minutes, more than a test has.
    for (let sent = 0; sent < 2000; sent++) (await limiter.acquire(KEY, { tokens: 500 })).settle(1);
  });

  test("what was underestimated is paid before the next request, also by an idle process", async () => {
    const site = openLimiter({ tpm: 60_000 });
    const startedAtMs = performance.now();
    for (let sent = 0; sent < 6; sent++) (await site.limiter.acquire(KEY, { tokens: 10 })).settle(400);

    // 5 × 400 tokens were paid; 700 may come from a full bucket.
    expect(performance.now() - startedAtMs).toBeGreaterThan(1250);

    const slow = openLimiter(SLOW);
    (await slow.limiter.acquire(KEY, { tokens: 1 })).settle(400);
    await waitFor("the debt is the fleet's", async () => (await slow.stored("tokens", "reservoir")) < -200);
  });
});

describe("budgets that change", () => {
  test("the settings of an earlier run give way to this run's", async () => {
    const first = openLimiter({ rpm: 6000 });
    await first.limiter.acquire(KEY, { tokens: 0 });
    await first.limiter.close();
    const second = openLimiter({ rpm: 1200 }, { namespace: first.namespace });
    await second.limiter.acquire(KEY, { tokens: 0 });

    expect(await second.stored("requests", "reservoirIncreaseMaximum")).toBe(14);
  });

  test("a raised limit frees those who wait under the old one", async () => {
    const site = openLimiter({ rpm: 1 });
    await site.limiter.acquire(KEY, { tokens: 0 });
    const waiting = site.limiter.acquire(KEY, { tokens: 0 });
    site.setBudget({ rpm: 6000 });
    await Promise.all([waiting, site.limiter.acquire(KEY, { tokens: 0 })]);

    expect(await site.stored("requests", "reservoirIncreaseMaximum")).toBe(70);
    site.setBudget(undefined);
    expect((await site.limiter.acquire(KEY, { tokens: 1e9 })).waitedMs).toBe(0);
  });

  test("a process with larger quanta than another's new limit allows does not hang", async () => {
    const old = openLimiter({ rpm: 6000 });
    await old.limiter.acquire(KEY, { tokens: 0 });
    const lowered = openLimiter({ rpm: 240 }, { namespace: old.namespace });
    await lowered.limiter.acquire(KEY, { tokens: 0 });
    await Promise.all(Array.from({ length: 8 }, () => old.limiter.acquire(KEY, { tokens: 0 })));

    expect(await old.stored("requests", "reservoirIncreaseMaximum")).toBe(2);
  });
});

describe("predicted wait", () => {
  test("grows with the line and is gone with it", async () => {
    const { limiter } = openLimiter({ rpm: 1200 });
    await limiter.acquire(KEY, { tokens: 0 });
    const leaving = new AbortController();
    const waiting = Array.from({ length: 200 }, () =>
      limiter.acquire(KEY, { tokens: 0, signal: leaving.signal }),
    );
    const all = Promise.allSettled(waiting);
    expect(limiter.predictedWaitMs(KEY)).toBeGreaterThan(8000);
    expect(limiter.predictedWaitMs(KEY)).toBeLessThan(20_000);

    leaving.abort();
    await all;
    await waitFor("nothing predicted", () => limiter.predictedWaitMs(KEY) === 0);
  });

  test("a small limit that nobody uses predicts no wait", async () => {
    const { limiter } = openLimiter({ rpm: 1 });
    expect(limiter.predictedWaitMs(KEY)).toBe(0);
    await limiter.acquire(KEY, { tokens: 0 });
    expect(limiter.predictedWaitMs(KEY)).toBeGreaterThan(50_000);
  });
});

describe("close", () => {
  test("rejects those who wait and those who come later", async () => {
    const { limiter } = openLimiter({ rpm: 1 });
    await limiter.acquire(KEY, { tokens: 0 });
    const waiting = expect(limiter.acquire(KEY, { tokens: 0 })).rejects.toThrow(RateLimiterClosedError);
    await limiter.close();
    await waiting;
    await expect(limiter.acquire(KEY, { tokens: 0 })).rejects.toThrow(RateLimiterClosedError);
  });

  test("ends when Redis cannot be reached", async () => {
    const redis = new Redis({ path: "/nonexistent/redis.sock", maxRetriesPerRequest: null });
    redis.on("error", () => {});
    const { limiter } = openLimiter({ rpm: 60, tpm: 1000 }, { redis });
    const waiting = expect(limiter.acquire(KEY, { tokens: 1 })).rejects.toThrow(RateLimiterClosedError);
    await limiter.close();
    await waiting;
  });

  test("can be disposed of twice", async () => {
    const { limiter } = openLimiter({ rpm: 6000 });
    onTestFinished(() => limiter.close());
    await limiter.acquire(KEY, { tokens: 0 });
    await limiter[Symbol.asyncDispose]();
    await limiter.close();
  });
});
