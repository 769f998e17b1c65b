import { describe, expect, test } from "vitest";
import { BudgetExceededError, BudgetWaitError } from "../../src/shared/unsent-errors.ts";
import { KEY, openLimiter } from "../support/rate-limiter.ts";
import { waitFor } from "../support/wait-for.ts";

async function elapsedMs(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}

/** Calls in flight that the fleet knows of. */
function slotsOf({ redis, namespace }: ReturnType<typeof openLimiter>): Promise<number> {
  return redis.zcard(`{gluellm:${namespace}}:limit:${KEY}:in-flight`);
}

describe("input and output apart", () => {
  test("each has its own bucket, and the scarcer one decides", async () => {
    const { limiter } = openLimiter({ itpm: 600_000, otpm: 6000 });
    const tookMs = await elapsedMs(async () => {
      for (let sent = 0; sent < 10; sent++) await limiter.acquire(KEY, { tokens: { input: 10, output: 20 } });
    });
    // 200 output tokens at 100 a second, of which 70 may come from a full bucket; input would take 20 ms.
    expect(tookMs).toBeGreaterThan(1000);
  });

  test("a request that no minute of its own limit holds is refused by name", async () => {
    const { limiter } = openLimiter({ tpm: 10_000, itpm: 1000, otpm: 500 });
    const refused = limiter.acquire(KEY, { tokens: { input: 10, output: 501 } });
    await expect(refused).rejects.toThrow(
      /501 output tokens can never be sent.*500 output tokens per minute/,
    );
    await expect(limiter.acquire(KEY, { tokens: 1001 })).rejects.toBeInstanceOf(BudgetExceededError);
  });
});

describe("calls in flight", () => {
  test("never exceed the fleet's number, and the next goes as one ends", async () => {
    const first = openLimiter({ maxInFlight: 3 });
    const second = openLimiter({ maxInFlight: 3 }, { namespace: first.namespace });
    let inFlight = 0;
    let most = 0;
    const call = async ({ limiter }: typeof first) => {
      const reservation = await limiter.acquire(KEY);
      most = Math.max(most, ++inFlight);
      await new Promise((resolve) => setTimeout(resolve, 20));
      inFlight -= 1;
      reservation.settle();
    };
    await Promise.all(Array.from({ length: 30 }, (_, n) => call(n % 2 ? first : second)));
    expect(most).toBe(3);
    await waitFor("all slots are free", async () => (await slotsOf(first)) === 0);
  });

  test("a process that ends frees its slots", async () => {
    const first = openLimiter({ maxInFlight: 1 });
    await first.limiter.acquire(KEY);
    const second = openLimiter({ maxInFlight: 1 }, { namespace: first.namespace });
    const waiting = second.limiter.acquire(KEY);
    // Without the release its slot would stay taken until its lease has ended and somebody asks.
    expect(await slotsOf(first)).toBe(1);
    await first.limiter.close();
    (await waiting).settle();
    await waitFor("the slot is free", async () => (await slotsOf(second)) === 0);
  });

  test("a slot that was taken for a request that left is free for others", async () => {
    const first = openLimiter({ maxInFlight: 1 });
    const leaving = new AbortController();
    const left = first.limiter.acquire(KEY, { signal: leaving.signal });
    leaving.abort();
    await expect(left).rejects.toThrow();
    // Nobody asks meanwhile, which is what frees a slot whose lease has ended.
    await waitFor("the slot is free", async () => (await slotsOf(first)) === 0);
    const second = openLimiter({ maxInFlight: 1 }, { namespace: first.namespace });
    await second.limiter.acquire(KEY);
  });

  test("the slots of a process that died come back when their leases end", async () => {
    const site = openLimiter({ maxInFlight: 1 });
    const key = `{gluellm:${site.namespace}}:limit:${KEY}:in-flight`;
    const [seconds = 0] = (await site.redis.time()).map(Number);
    await site.redis.zadd(key, seconds * 1000 + 1500, "dead");
    expect(await elapsedMs(() => site.limiter.acquire(KEY))).toBeGreaterThan(400);
  });
});

test("keys whose budgets name one bucket spend from it together", async () => {
  const { limiter } = openLimiter({ rpm: 1200, bucket: "shared" });
  const tookMs = await elapsedMs(() =>
    Promise.all(Array.from({ length: 40 }, (_, n) => limiter.acquire(n % 2 ? "openai:a" : "openai:b"))),
  );
  // 20 a second, 14 of them from a full bucket; with a bucket each it would be over in half the time.
  expect(tookMs).toBeGreaterThan(1200);
});

describe("pauses", () => {
  test("nothing is granted for their time, and afterwards the fleet's buckets are empty", async () => {
    const site = openLimiter({ rpm: 6000 });
    await site.limiter.acquire(KEY);
    await site.fill("requests", 70);
    site.limiter.pause(KEY, 600);
    await site.limiter.drain(KEY, 600);
    expect(await site.stored("requests", "reservoir")).toBeLessThan(-40);
    const other = openLimiter({ rpm: 6000 }, { namespace: site.namespace });
    const waits = await Promise.all(
      [site, other].map(({ limiter }) => elapsedMs(() => limiter.acquire(KEY))),
    );
    for (const waitMs of waits) expect(waitMs).toBeGreaterThan(500);
  });

  test("a shorter pause does not end a longer one", async () => {
    const { limiter } = openLimiter({ rpm: 6000 });
    await limiter.acquire(KEY);
    limiter.pause(KEY, 700);
    limiter.pause(KEY, 10);
    expect(await elapsedMs(() => limiter.acquire(KEY))).toBeGreaterThan(600);
  });

  test("what a call before the pause gives back does not count after it", async () => {
    const site = openLimiter({ tpm: 600, burstSeconds: 60 });
    await site.limiter.acquire(KEY, { tokens: 1 });
    await site.fill("tokens", 400);
    const before = await site.limiter.acquire(KEY, { tokens: 390 });
    site.limiter.pause(KEY, 10);
    before.settle(0);
    expect(site.limiter.predictedWaitMs(KEY, { tokens: 300 })).toBeGreaterThan(10_000);
  });
});

describe("an answer that is longer than thought", () => {
  /** Ten tokens a second, and 400 in the bucket. */
  async function openFull() {
    const site = openLimiter({ tpm: 600, burstSeconds: 60 });
    await site.limiter.acquire(KEY, { tokens: 1 });
    await site.fill("tokens", 400);
    return site;
  }

  test("is owed by the fleet, and not by its process alone", async () => {
    const site = await openFull();
    const call = await site.limiter.acquire(KEY, { tokens: 10 });
    // A process with work does not give back by itself.
    const next = site.limiter.acquire(KEY, { tokens: 550 }).catch(() => "never");
    call.settle({ input: 5, output: 595 });
    await waitFor("the debt", async () => (await site.stored("tokens", "reservoir")) < 0);
    expect(site.limiter.predictedWaitMs(KEY, { tokens: 10 })).toBeGreaterThan(10_000);
    await site.limiter.close();
    expect(await next).toBe("never");
  });

  test("counts after a pause, as the provider may not have counted it before", async () => {
    const site = await openFull();
    const call = await site.limiter.acquire(KEY, { tokens: 10 });
    site.limiter.pause(KEY, 10);
    call.settle({ input: 5, output: 595 });
    await waitFor("the debt", async () => (await site.stored("tokens", "reservoir")) < 0);
  });
});

describe("those who would not wait long", () => {
  test("leave when a longer pause begins, and are turned away during it", async () => {
    const { limiter } = openLimiter({ rpm: 60, burstSeconds: 1 });
    await limiter.acquire(KEY);
    const patient = limiter.acquire(KEY);
    const impatient = limiter.acquire(KEY, { maxWaitMs: 2000 });
    limiter.pause(KEY, 3000);
    await expect(impatient).rejects.toMatchObject({ code: "budget_wait", waitMs: 3000 });
    await expect(limiter.acquire(KEY, { maxWaitMs: 2000 })).rejects.toBeInstanceOf(BudgetWaitError);
    await patient;
  });

  test("are turned away by a long line, but not by one that they overtake or by their own size", async () => {
    const { limiter } = openLimiter({ rpm: 600, tpm: 6000 });
    await limiter.acquire(KEY);
    const leaving = new AbortController();
    const line = Array.from({ length: 50 }, () =>
      limiter.acquire(KEY, { tokens: 20, signal: leaving.signal }),
    );
    const ended = Promise.allSettled(line);
    await expect(limiter.acquire(KEY, { maxWaitMs: 1000 })).rejects.toThrow(/taken for about \d+ s/);
    await limiter.acquire(KEY, { maxWaitMs: 1000, priority: 0, tokens: 200 });
    leaving.abort();
    await ended;
  });
});

test("an abort after a request was turned away is harmless", async () => {
  const { limiter } = openLimiter({ rpm: 60 });
  await limiter.acquire(KEY);
  limiter.pause(KEY, 3000);
  const later = new AbortController();
  const turnedAway = limiter.acquire(KEY, { maxWaitMs: 10, signal: later.signal });
  await expect(turnedAway).rejects.toBeInstanceOf(BudgetWaitError);
  // A listener that still hung on the signal would throw here, outside of any promise.
  later.abort();
});

test("many pauses at once do not make the predicted wait longer than their time", async () => {
  const { limiter } = openLimiter({ rpm: 6000 });
  await limiter.acquire(KEY);
  for (let answer = 0; answer < 50; answer++) limiter.pause(KEY, 60_000);
  expect(limiter.predictedWaitMs(KEY)).toBeGreaterThan(30_000);
  expect(limiter.predictedWaitMs(KEY)).toBeLessThan(90_000);
});

test("a limit that came after a request was granted gives it nothing back", async () => {
  const site = openLimiter({ rpm: 6000 });
  const granted = await site.limiter.acquire(KEY, { tokens: 10_000 });
  site.setBudget({ rpm: 6000, tpm: 6000 });
  await site.limiter.acquire(KEY, { tokens: 1 });
  granted.settle(1);
  expect(site.limiter.predictedWaitMs(KEY, { tokens: 5000 })).toBeGreaterThan(10_000);
});

describe("one call beside a batch", () => {
  // A unit in 10 s, and a debt of at most 4.
  const budget = { rpm: 6, burstSeconds: 3000 };

  /** The bucket is there, and its one unit is spent. */
  async function empty({ limiter, stored, fill }: ReturnType<typeof openLimiter>): Promise<void> {
    const spent = limiter.acquire(KEY);
    await waitFor("the bucket", async () => (await stored("requests", "reservoirIncreaseMaximum")) > 0);
    await fill("requests", 1);
    await spent;
  }

  test("does not wait for the fleet's next units, as far as the headroom bears it", async () => {
    const first = openLimiter(budget);
    const second = openLimiter(budget, { namespace: first.namespace });
    const row = { priority: 10 };
    const urgent = { priority: 0, isUrgent: true };
    await empty(first);
    const rows = [first, second].map(({ limiter }) => limiter.acquire(KEY, row).catch(() => "never"));
    for (let call = 0; call < 4; call++) await second.limiter.acquire(KEY, urgent);
    expect(await first.stored("requests", "reservoir")).toBeLessThan(0);
    // Others are as urgent now, or the debt is as large as it may be: they wait with the rows.
    const later = [1, 2, 3].map(() => second.limiter.acquire(KEY, urgent).catch(() => "never"));
    await waitFor("the debt is full, or given back", async () => {
      const level = await first.stored("requests", "reservoir");
      return level >= -4 && level < 0;
    });
    expect(second.limiter.waiting().get(KEY)).toBeGreaterThanOrEqual(3);
    await Promise.all([first.limiter.close(), second.limiter.close()]);
    expect(await Promise.all([...rows, ...later])).toContain("never");
  });

  test("without a batch nothing is borrowed", async () => {
    const opened = openLimiter(budget);
    const { limiter, stored } = opened;
    await empty(opened);
    const waiting = [1, 2].map(() => limiter.acquire(KEY, { isUrgent: true }).catch(() => "never"));
    await waitFor("their purchase", () => limiter.waiting().get(KEY) === 2);
    expect(await stored("requests", "reservoir")).toBeGreaterThanOrEqual(0);
    await limiter.close();
    expect(await Promise.all(waiting)).toContain("never");
  });
});
