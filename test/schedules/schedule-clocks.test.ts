import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { siteAhead } from "../support/site-ahead.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const HOUR = 3_600_000;

const report = defineWorkflow({
  name: "report",
  input: z.object({ of: z.string(), since: z.date().optional() }),
  output: z.string(),
  run: async (ctx, { of }) => (await ctx.complete("write", `${of} of ${ctx.runId}`)).finalResponse,
});

/** Does work as a process does it whose machine's clock is so far ahead. */
async function shifted<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const rightNow = Date.now;
  Date.now = () => rightNow() + ms;
  try {
    return await work();
  } finally {
    Date.now = rightNow;
  }
}

test.each([-3 * HOUR, 30_000, 3 * HOUR])(
  "created on a machine whose clock is %s ms ahead, it ticks from now on by Redis' time",
  { tags: "long" },
  async (errorMs) => {
    const { client, work } = await workflowSite();
    const { schedules } = client;
    const before = Date.now() - 1000;
    const options = { id: "s", workflow: report, input: { of: "s" }, everyMs: 1000, catchUp: "all" } as const;
    const created = await shifted(errorMs, async () => {
      await schedules.create(options);
      await schedules.pause("s");
      return await schedules.resume("s");
    });
    for (const time of [created.createdAt, created.nextRun, ...created.next(1)]) {
      expect(time?.getTime()).toBeGreaterThan(before);
      expect(time?.getTime()).toBeLessThan(Date.now() + 2000);
    }
    const triggered = await shifted(errorMs, () => schedules.trigger("s"));
    expect(Math.abs(Number(triggered.split(/[.-]/)[1]) - Date.now())).toBeLessThan(60_000);
    await work(report);
    const { ticks, counts } = await waitFor("ticks", async () => {
      const now = await schedules.get("s");
      return now.counts.started >= 3 ? now : undefined;
    });
    expect(counts.missed).toBe(0);
    for (const { plannedAt, at } of ticks) {
      expect(plannedAt.getTime()).toBeGreaterThan(before);
      expect(plannedAt.getTime()).toBeLessThanOrEqual(at.getTime() + 1000);
    }
  },
);

test("a worker whose clock is ahead starts no tick before its time by Redis", async () => {
  const { site, client } = await workflowSite();
  const { schedules } = client;
  const options = { completion: "hello", everyMs: 2000, overlap: "allow", catchUp: "all" } as const;
  await schedules.create({ id: "a", ...options });
  (await siteAhead(site, 50_000)).start("worker");
  const { ticks } = await waitFor("ticks", async () => {
    const now = await schedules.get("a");
    return now.counts.started >= 3 ? now : undefined;
  });
  const times = ticks.map(({ plannedAt }) => plannedAt.getTime()).sort();
  expect(times).toEqual(times.map((_, n) => (times[0] ?? 0) + n * 2000));
  for (const { plannedAt, at } of ticks)
    expect(at.getTime()).toBeGreaterThanOrEqual(plannedAt.getTime() - 1000);
});

test("a schedule that BullMQ has lost ticks again, also beside one that is damaged", {
  tags: "long",
}, async () => {
  const { client, work, queueOf, redis, settings } = await workflowSite();
  const { schedules } = client;
  for (const id of ["damaged", "lost"])
    await schedules.create({ id, workflow: report, input: { of: "l" }, everyMs: 1000 });
  const { prefix, schedule } = redisKeys(settings.namespace);
  await redis.hset(schedule("damaged"), "definition", '{"v":0}');
  await redis.del(
    `${prefix}:schedules:repeat`,
    `${prefix}:schedules:repeat:lost`,
    `${prefix}:schedules:delayed`,
  );
  await work(report);
  queueOf("report");
  await waitFor("a tick", async () => (await schedules.get("lost")).counts.started >= 1);
});
