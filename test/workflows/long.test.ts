import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { partsOf } from "../../src/store/bullmq-internals.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const DAY = 86_400_000;
/** Too long to lie in an entry. */
const BIG = "x".repeat(20_000);

const gives = defineWorkflow({
  name: "gives",
  input: z.object({}),
  output: z.string(),
  run: async () => BIG,
});

const long = defineWorkflow({
  name: "long",
  input: z.object({ text: z.string(), part: z.number().default(0) }),
  output: z.number(),
  run: async (ctx, { text, part }) => {
    const { finalResponse } = await ctx.complete("ask", "short");
    const big = await ctx.complete("ask", `long\n#sim ${JSON.stringify({ reply: BIG })}`);
    const local = await ctx.run("local", () => BIG);
    const child = await ctx.child("child", gives, {});
    const signal = await ctx.waitFor<string>("signal");
    await ctx.waitFor("end");
    if (part === 0) return ctx.continueAsNew({ text, part: 1 });
    return [text, finalResponse, big.finalResponse, local, child, signal].join("").length;
  },
});

const sleeps = defineWorkflow({
  name: "sleeps",
  input: z.object({ days: z.number() }),
  output: z.number(),
  run: async (ctx, { days }) => {
    await Promise.race([ctx.sleep("long", days * DAY), ctx.waitFor("wake", { timeoutMs: 2 * days * DAY })]);
    return days;
  },
});

test("nothing of a run of 400 days expires before its deadline; after its end it all does", async () => {
  const { runs, work, redis, settings } = await workflowSite();
  await work(long, gives);
  const keys = redisKeys(settings.namespace);
  /** Life in days of each key of runs. */
  const lives = async () => {
    const found = await redis.keys(`${keys.prefix}:*`);
    const ofRuns = found.filter((key) => /:(workflow|result|blob):/.test(key));
    return Promise.all(ofRuns.map(async (key) => [key, (await redis.ttl(key)) / 86_400] as const));
  };
  const run = await runs.start(long, { text: BIG }, { runId: "r", deadlineMs: 400 * DAY });
  for (const part of [0, 1]) {
    await run.signal("signal", BIG, { dedupeId: `s${part}` });
    await waitFor("the second wait", async () =>
      (await run.status()).waitsFor.some((what) => what.includes("end")),
    );
    // Those of the child too, which has ended: its parent may ask how.
    const of = await lives();
    expect(of.length).toBeGreaterThan(8);
    for (const [key, days] of of) if (days >= 0) expect(days, key).toBeGreaterThan(400);
    await run.signal("end");
  }
  expect(await run.result()).toBeGreaterThan(5 * BIG.length);
  for (const key of [keys.workflow("r"), keys.workflowJournal("r"), keys.workflowSignals("r")]) {
    expect(await redis.ttl(key), key).toBeGreaterThan(29 * 86_400);
    expect(await redis.ttl(key), key).toBeLessThanOrEqual(30 * 86_400);
  }
  // A cancelled one too.
  const other = await runs.start(long, { text: "x" }, { deadlineMs: 400 * DAY });
  await other.cancel();
  expect(await redis.ttl(keys.workflow(other.id))).toBeLessThanOrEqual(30 * 86_400);
});

test("a sleep of 100 days sleeps, and does not spin", async () => {
  const { runs, work, redis, settings } = await workflowSite();
  await work(sleeps);
  const run = await runs.start(sleeps, { days: 100 }, { deadlineMs: 3650 * DAY });
  const { delayed } = partsOf(testStore(settings.namespace), workflowQueue("sleeps"));
  const wakesAt = async () => Number(await redis.zscore(delayed, run.id)) / 0x1000;
  await waitFor("sleep", async () => (await wakesAt()) > 0);
  expect(Math.abs((await wakesAt()) - (Date.now() + 100 * DAY))).toBeLessThan(60_000);
  const journal = await redis.lrange(redisKeys(settings.namespace).workflowJournal(run.id), 0, -1);
  expect(journal).toHaveLength(2);
  expect((await run.status()).waitsFor.join()).toMatch(/its sleep "long" until/);
  await run.signal("wake");
  expect(await run.result({ timeoutMs: 100 * DAY })).toBe(100);
  await expect(runs.start(sleeps, { days: 1 }, { deadlineMs: 3651 * DAY })).rejects.toThrow(
    /wrong at deadlineMs/,
  );
});

test("a default run has 30 days, and each part of one that goes on as new has them anew", async () => {
  const { runs, work } = await workflowSite();
  await work(long, gives);
  const run = await runs.start(long, { text: "x" });
  const begun = await run.status();
  expect(begun.deadlineAt.getTime() - begun.createdAt.getTime()).toBe(30 * DAY);
  await run.signal("signal", "s");
  await run.signal("end");
  await waitFor("the next part", async () => (await run.status()).continued === 1);
  const next = await run.status();
  expect(next.deadlineAt.getTime()).toBe((next.chain[0]?.finishedAt.getTime() ?? 0) + 30 * DAY);
  await run.cancel();
});
