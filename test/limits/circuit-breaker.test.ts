import { join } from "node:path";
import { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { type Admission, CircuitBreaker } from "../../src/limits/circuit-breaker.ts";
import { ConfigurationError } from "../../src/shared/errors.ts";
import { CircuitOpenError } from "../../src/shared/unsent-errors.ts";
import {
  admitted,
  fail,
  goesOn,
  KEY,
  openFleet,
  probe,
  SETTINGS,
  stops,
  transitions,
} from "../support/breaker-fleet.ts";
import { testRedis } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

test("failures of several processes add up and stop the calls of all", async () => {
  const { breakers, first, second, third, state, logs } = await openFleet({ cooldownMs: 60_000 });
  await Promise.all(breakers.map((breaker) => breaker.admit(KEY)));
  await fail(first, 2);
  await fail(second, 1);
  expect(await second.failed(KEY)).toBe("open");
  for (const breaker of breakers) await stops(breaker);
  expect(await third.admit(KEY)).toEqual({ isAllowed: false, waitMs: 1000 });
  expect(await state()).toMatchObject({ state: "open", failures: 4, calls: 4, opened: 1 });
  expect((await state()).openedAt).toBeGreaterThan(Date.now() - 60_000);
  expect(logs.map(({ level, key, failures, calls }) => ({ level, key, failures, calls }))).toEqual(
    breakers.map(() => ({ level: 40, key: KEY, failures: 4, calls: 4 })),
  );
});

test("a process that comes later finds it open at its first call", async () => {
  const { first, start } = await openFleet({ cooldownMs: 60_000 });
  await fail(first, 4);
  const later = await start();
  expect((await later.admit(KEY)).isAllowed).toBe(false);
  expect((await later.admit("openai:other")).isAllowed, "each key has its own").toBe(true);
});

test("it stays closed below the least number of calls and below the failure rate", async () => {
  const { first: breaker, state } = await openFleet();
  await fail(breaker, 3);
  expect(await state()).toEqual({ state: "closed", failures: 3, calls: 3, opened: 0 });
  for (let call = 0; call < 5; call++) await breaker.succeeded(KEY);
  expect(await breaker.failed(KEY), "4 of 9").toBe("closed");
  expect(await breaker.failed(KEY), "5 of 10").toBe("open");
});

test("successes of processes without failures count", async () => {
  const { first: healthy, second: broken, state } = await openFleet();
  for (let call = 0; call < 20; call++) await healthy.succeeded(KEY, await admitted(healthy));
  await waitFor("its report", async () => (await state()).calls === 20);
  await fail(broken, 19);
  expect(await state()).toMatchObject({ state: "closed", failures: 19, calls: 39 });
  await fail(broken, 1);
  expect((await state()).state).toBe("open");
});

test("the window forgets old calls", async () => {
  const { first: breaker, state } = await openFleet({ windowMs: 400 });
  await fail(breaker, 3);
  await waitFor("an empty window", async () => (await state()).calls === 0);
  expect(await breaker.failed(KEY)).toBe("closed");
  expect(await state()).toMatchObject({ failures: 1, calls: 1 });
});

test("while closed, calls that succeed cost no command each", async () => {
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  let scripts = 0;
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, ...rest) => {
    if (command.name === "evalsha") scripts++;
    return send(command, ...rest);
  };
  const { first: breaker, state } = await openFleet({}, { redis });
  for (let call = 0; call < 2000; call++) await breaker.succeeded(KEY, await admitted(breaker));
  await waitFor("the report", async () => (await state()).calls === 2000);
  expect(scripts, "reports every 0.5 s, with the first admission or without").toBeGreaterThan(0);
  expect(scripts).toBeLessThan(20);
});

test("the whole fleet gets one probe at a time", async () => {
  const { breakers, first, state } = await openFleet();
  await fail(first, 4);
  const probes: Admission[] = [];
  await waitFor("a probe", async () => {
    const asking = Array.from({ length: 50 }, () => breakers.map((breaker) => breaker.admit(KEY))).flat();
    const answers = await Promise.all(asking);
    probes.push(...answers.filter((answer) => answer.isAllowed && answer.isProbe));
    return probes.length > 0;
  });
  const more = await Promise.all(breakers.map((breaker) => breaker.admit(KEY)));
  expect(probes).toHaveLength(1);
  expect(more).toEqual(breakers.map(() => ({ isAllowed: false, waitMs: 1000 })));
  expect((await state()).state).toBe("half_open");
});

test("a failed probe keeps it open without opening it again, and the next comes after the cooldown", async () => {
  const { first, second, state } = await openFleet({ cooldownMs: 300 });
  const seen = transitions();
  await fail(first, 4);
  expect(await first.failed(KEY, await probe(first))).toBe("open");
  const failedAt = performance.now();
  expect(await state()).toMatchObject({ state: "open", opened: 1, failures: 4, calls: 4 });
  await probe(second);
  expect(performance.now() - failedAt).toBeGreaterThan(100);
  expect((await state()).opened).toBe(1);
  expect(seen.map((transition) => transition.state)).toEqual(["open", "half_open", "open", "half_open"]);
  expect(new Set(seen.map(({ opened }) => opened))).toEqual(new Set([1]));
});

test("a successful probe closes it for all and empties the counts", async () => {
  const { breakers, first, second, state, logs } = await openFleet();
  const seen = transitions();
  await fail(first, 4);
  for (const breaker of breakers) await stops(breaker);
  expect(await second.succeeded(KEY, await probe(second))).toBe("closed");
  for (const breaker of breakers) await goesOn(breaker);
  expect(await state()).toEqual({ state: "closed", failures: 0, calls: 0, opened: 1 });
  expect(seen.at(-1)).toEqual({ key: KEY, state: "closed", failures: 4, calls: 4, opened: 1 });
  const closings = logs.filter(({ level }) => level === 30);
  expect(closings).toHaveLength(3);
  for (const { openMs } of closings) expect(openMs).toBeGreaterThanOrEqual(150);
  await fail(first, 4);
  expect((await state()).opened).toBe(2);
});

test("a probe that does not come back gives its turn to another, and closes it when it succeeds late", async () => {
  const { first, second, state } = await openFleet({ cooldownMs: 50, probeMs: 600 });
  await fail(first, 4);
  const slow = await probe(first);
  const startedAt = performance.now();
  const other = await probe(second);
  expect(performance.now() - startedAt).toBeGreaterThan(200);
  expect(other.probe).toBe(slow.probe! + 1);
  await first.failed(KEY, slow);
  expect((await state()).state, "a late failure leaves the other's turn alone").toBe("half_open");
  expect(await first.succeeded(KEY, slow)).toBe("closed");
});

test("a probe that was released passes on at once", async () => {
  const { first, second } = await openFleet();
  await fail(first, 4);
  const unused = await probe(first);
  await stops(second);
  await first.released(KEY, unused);
  expect(await second.admit(KEY)).toMatchObject({ isAllowed: true, isProbe: true });
});

test("calls from before the opening neither close it nor count after it", async () => {
  const { first, second, state } = await openFleet();
  const early = await Promise.all(Array.from({ length: 20 }, () => admitted(second)));
  await fail(first, 4);
  await stops(second);
  expect(await second.succeeded(KEY, early[0])).toBe("open");
  await first.succeeded(KEY, await probe(first));
  await goesOn(second);
  for (const call of early) expect(await second.failed(KEY, call)).toBe("closed");
  expect(await state()).toMatchObject({ state: "closed", failures: 0, calls: 0 });
  await second.failed(KEY, await admitted(second));
  expect(await state()).toMatchObject({ failures: 1, calls: 1 });
});

test("a process that missed the message learns of the opening by its next report", async () => {
  const { first, start } = await openFleet({ cooldownMs: 60_000 });
  const deaf = await start({ isDeaf: true });
  await admitted(deaf);
  await fail(first, 4);
  expect((await deaf.admit(KEY)).isAllowed, "it cannot know yet").toBe(true);
  expect(await deaf.succeeded(KEY)).toBe("closed");
  await stops(deaf);
});

test("a process that missed opening and closing does not report the calls from before", async () => {
  const { first, start, state } = await openFleet();
  const deaf = await start({ isDeaf: true });
  const early = await admitted(deaf);
  await fail(first, 4);
  await first.succeeded(KEY, await probe(first));
  await Promise.all([deaf.failed(KEY, early), deaf.succeeded(KEY, early)]);
  await deaf[Symbol.asyncDispose]();
  expect((await state()).calls).toBe(0);
});

test("without Redis the last known state stands and no call hangs", async () => {
  const redis = new Redis({ path: join(temporaryFolder(), "nobody.sock"), maxRetriesPerRequest: null });
  redis.on("error", () => {});
  onTestFinished(() => redis.disconnect());
  const breaker = new CircuitBreaker({ redis, keyPrefix: "{test}", settings: SETTINGS });
  for (let call = 0; call < 50; call++) {
    expect(await breaker.admit(KEY)).toMatchObject({ isAllowed: true, isProbe: false });
    expect(await breaker.failed(KEY)).toBe("closed");
  }
  expect(await breaker.run(KEY, async () => "answer")).toBe("answer");
  await breaker[Symbol.asyncDispose]();
});

test("a Redis that went away leaves it open, and one that hangs holds a call for about a second", async () => {
  const { first, keys, redis } = await openFleet({ cooldownMs: 60_000 });
  await fail(first, 4);
  const own = testRedis();
  const breaker = new CircuitBreaker({ redis: own, keyPrefix: keys.prefix, settings: SETTINGS });
  await stops(breaker);
  // Holds this client's commands as a frozen server would, without stopping the suite's Redis.
  own.stream.pause();
  const startedAt = performance.now();
  expect(await breaker.admit(KEY)).toEqual({ isAllowed: false, waitMs: 1000 });
  expect(performance.now() - startedAt, "it did hang").toBeGreaterThan(500);
  own.stream.destroy();
  own.disconnect();
  await waitFor("the connection's end", () => own.status === "end");
  expect(await breaker.admit(KEY)).toEqual({ isAllowed: false, waitMs: 1000 });
  expect(await redis.hget(keys.breaker(KEY), "opened")).toBe("1");
});

test("it closes when Redis was emptied", async () => {
  const { first, keys, redis } = await openFleet({ cooldownMs: 60_000 });
  await fail(first, 4);
  await stops(first);
  expect(await redis.pttl(keys.breaker(KEY))).toBeGreaterThan(3_000_000);
  await redis.del(keys.breaker(KEY));
  expect((await first.admit(KEY)).isAllowed).toBe(true);
  await fail(first, 3);
  expect(await first.failed(KEY)).toBe("open");
});

test("run counts how calls end and refuses them while it is open", async () => {
  const isFailure = (error: unknown) => (error as Error).message !== "bad request";
  const { first: breaker, state } = await openFleet({ cooldownMs: 500 }, { isFailure });
  const rejects = (message: string) => breaker.run(KEY, () => Promise.reject(new Error(message)));
  expect(await breaker.run(KEY, async () => 1)).toBe(1);
  await expect(rejects("bad request")).rejects.toThrow("bad request");
  for (let call = 0; call < 3; call++) await expect(rejects("down")).rejects.toThrow("down");
  expect(await state()).toMatchObject({ state: "open", failures: 3, calls: 4 });
  const refused = await breaker.run(KEY, async () => 1).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(CircuitOpenError);
  expect(refused).toMatchObject({ code: "circuit_open", category: "provider" });
  expect((refused as CircuitOpenError).retryAfterMs).toBeGreaterThan(0);
  expect((refused as CircuitOpenError).retryAfterMs).toBeLessThanOrEqual(500);
  const isProbed = () => rejects("bad request").catch((error: Error) => !isFailure(error));
  await waitFor("a probe that is a bad request", isProbed);
  expect((await state()).state, "it says nothing").toBe("open");
  expect(await breaker.run(KEY, async () => 2), "so the next is the probe").toBe(2);
  expect((await state()).state).toBe("closed");
});

test.each([{ failureRate: 50 }, { failureRate: 0 }, { minCalls: Number.NaN }, { cooldownMs: -1 }])(
  "%j is refused",
  (settings) => {
    const redis = testRedis({ lazyConnect: true });
    expect(() => new CircuitBreaker({ redis, keyPrefix: "{test}", settings })).toThrow(ConfigurationError);
  },
);
