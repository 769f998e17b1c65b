import { join } from "node:path";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { ClockWatch } from "../../src/store/clock-watch.ts";
import { clockOf } from "../../src/store/redis-clock.ts";
import { storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteAhead } from "../support/site-ahead.ts";
import { openClient } from "../support/site-client.ts";
import { chain } from "../support/test-workflows.ts";
import { waitFor } from "../support/wait-for.ts";

const WORKFLOWS = join(import.meta.dirname, "../support/test-workflows.ts");

test("a clock is compared with Redis' clock, and its followers are told", async () => {
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const lines: string[] = [];
  const logger = pino({ level: "info" }, { write: (line: string) => lines.push(line) });
  const clock = new ClockWatch(storeOf(redis, testNamespace()), logger);
  const told: boolean[] = [];
  const unfollow = clock.follow((isOff) => told.push(isOff));
  const rightNow = Date.now;
  const lookAt = async (errorMs: number) => {
    const spy = vi.spyOn(Date, "now").mockImplementation(() => rightNow() + errorMs);
    onTestFinished(() => spy.mockRestore());
    await clock.look();
    spy.mockRestore();
  };
  for (const errorMs of [0, 8_000, 3_600_000, -3_600_000, -20_000, 0]) await lookAt(errorMs);
  expect(told).toEqual([false, true, false]);
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
    "this machine's clock is 8 s ahead of that of Redis; check NTP",
    "this machine's clock is 3600 s ahead of that of Redis: no jobs are taken until it is right; check NTP",
    "this machine's clock is 3600 s behind that of Redis: no jobs are taken until it is right; check NTP",
    "this machine's clock is right again: jobs are taken",
  ]);
  unfollow();
  await lookAt(3_600_000);
  expect(told).toHaveLength(3);
});

test("the time by Redis is known whatever this machine's clock says, and is asked again when that was set", async () => {
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const clock = clockOf({ redis });
  const rightNow = Date.now;
  const spy = vi.spyOn(Date, "now");
  onTestFinished(() => spy.mockRestore());
  for (const errorMs of [0, 3_600_000, -3_600_000, 30_000]) {
    spy.mockImplementation(() => rightNow() + errorMs);
    const before = rightNow();
    const time = await clock.fresh();
    expect(time).toBeGreaterThan(before - 1000);
    expect(time).toBeLessThan(rightNow() + 1000);
  }
  const asked = vi.spyOn(redis, "time");
  await clock.fresh();
  expect(asked).not.toHaveBeenCalled();
});

test("deadlines are set and judged by Redis' clock: other clocks fail no job and no run", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({ latencyMs: 300 });
  await using client = openClient(site, { idleCloseMs: 0 });
  const worker = (await siteAhead(site, 55_000)).start("worker", "--module", WORKFLOWS);
  await waitFor("its word", () => /55 s ahead of that of Redis/.test(worker.stderr()));
  const rightNow = Date.now;
  const start = async (errorMs: number) => {
    const spy = vi.spyOn(Date, "now").mockImplementation(() => rightNow() + errorMs);
    try {
      const limits = { deadlineMs: 50_000 };
      const job = await client.enqueue(`from ${errorMs}`, { model: MODEL, ...limits });
      const run = await client.workflows.start(chain, { topic: `of ${errorMs}`, steps: 2 }, limits);
      return [job, run];
    } finally {
      spy.mockRestore();
    }
  };
  for (const handle of [...(await start(0)), ...(await start(-3_600_000))]) await handle.result();
});

test("a worker whose clock is an hour ahead takes no jobs, and fails none", async () => {
  await using site = await TestSite.open();
  const wrong = await siteAhead(site, 3_600_000);
  const worker = wrong.start("worker");
  await waitFor("its word", () => /3600 s ahead of that of Redis: no jobs are taken/.test(worker.stderr()));
  await using client = openClient(site);
  const jobs = await Promise.all(
    ["one", "two"].map((prompt) => client.enqueue(prompt, { model: MODEL, deadlineMs: 600_000 })),
  );
  site.start("worker");
  for (const job of jobs) expect((await job.result()).attempts).toBe(1);
});
