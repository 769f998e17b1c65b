import { join } from "node:path";
import { pino } from "pino";
import { expect, onTestFinished, test, vi } from "vitest";
import { ClockWatch } from "../../src/store/clock-watch.ts";
import { storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const SHIFTED = join(import.meta.dirname, "../support/shifted-clock.ts");

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

test("a worker whose clock is an hour ahead takes no jobs, and fails none", async () => {
  await using site = await TestSite.open();
  site.write("shift", [3_600_000]);
  await using wrong = await TestSite.open(
    {},
    {
      GLUELLM_NAMESPACE: site.namespace,
      SIMULATOR_BASE_URL: `${site.simulator.url}/v1`,
      NODE_OPTIONS: `--import ${SHIFTED}`,
      SHIFT_FILE: site.path("shift"),
    },
  );
  const worker = wrong.start("worker");
  await waitFor("its word", () => /3600 s ahead of that of Redis: no jobs are taken/.test(worker.stderr()));
  await using client = openClient(site);
  const jobs = await Promise.all(
    ["one", "two"].map((prompt) => client.enqueue(prompt, { model: MODEL, deadlineMs: 600_000 })),
  );
  site.start("worker");
  for (const job of jobs) expect((await job.result()).attempts).toBe(1);
});
