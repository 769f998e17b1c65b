import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, GlueLLM } from "../../src/index.ts";
import { latestTimes } from "../../src/schedules/times.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const HOUR = 3_600_000;

const report = defineWorkflow({
  name: "report",
  input: z.object({ of: z.string(), since: z.date().optional() }),
  output: z.string(),
  run: async (ctx, { of }) => (await ctx.complete("write", `${of} of ${ctx.runId}`)).finalResponse,
});

/** Ends when it is told. */
const slow = defineWorkflow({
  name: "slow",
  input: z.object({}),
  output: z.null(),
  run: async (ctx) => {
    await ctx.waitFor("end");
    return null;
  },
});

test("a workflow every second: each tick is one run, paid once, and the schedule tells of it", {
  tags: "long",
}, async () => {
  const { site, client, runs, work } = await workflowSite();
  const { schedules } = client;
  await work(report);
  const since = new Date(0);
  const options = {
    id: "news",
    workflow: report,
    input: { of: "news", since },
    everyMs: 1000,
    tags: ["t"],
  };
  const created = await schedules.create(options);
  // Time goes on until it is asked.
  const [soon = 0, then = 0] = created.next(2).map((at) => at.getTime());
  const nextRun = created.nextRun?.getTime() ?? Number.NaN;
  expect([soon >= nextRun, (soon - nextRun) % 1000, then - soon]).toEqual([true, 0, 1000]);
  await waitFor("three ticks", async () => (await schedules.get("news")).counts.started >= 3);
  const paused = await schedules.pause("news");
  expect(paused).toMatchObject({
    state: "paused",
    subject: "report",
    kind: "workflow",
    nextRun: undefined,
  });
  const ticks = paused.ticks.filter(({ outcome }) => outcome === "started");
  expect(new Set(ticks.map(({ plannedAt }) => plannedAt.getTime() % 1000))).toEqual(new Set([0]));
  for (const { id = "", plannedAt } of ticks) {
    expect(id).toBe(`news.${plannedAt.getTime()}`);
    await runs.open(id).result();
    expect(site.paidCalls().get(`news of ${id}`)).toBe(1);
  }
  expect(site.simulator.journal.entries()).toHaveLength(ticks.length);
  expect(await runs.list({ tag: "schedule:news" })).toHaveLength(ticks.length);
  expect(paused.lastRun).toMatchObject({ id: ticks[0]?.id });
});

test("a completion by cron; the same definition again changes nothing, another one does", async () => {
  const { site, client, work, redis, settings } = await workflowSite();
  const { schedules } = client;
  await work();
  const keys = redisKeys(settings.namespace);
  const options = { id: "hello", completion: { message: "hello", maxTokens: 5 }, cron: "* * * * * *" };
  await schedules.create(options);
  const next = () => redis.hget(`${keys.prefix}:schedules:repeat:hello`, "ic");
  await waitFor("a tick", async () => (await schedules.get("hello")).counts.started >= 1);
  const before = Number(await next());
  for (let i = 0; i < 20; i++) await schedules.create(options);
  expect(Number(await next())).toBeGreaterThanOrEqual(before);
  const { counts, updatedAt } = await schedules.get("hello");
  await waitFor(
    "more ticks",
    async () => (await schedules.get("hello")).counts.started >= counts.started + 2,
  );
  const changed = await schedules.create({ ...options, cron: "0 0 1 1 *" });
  expect(changed.updatedAt.getTime()).toBeGreaterThan(updatedAt.getTime());
  const { lastRun, ticks: all } = await schedules.get("hello");
  const ticks = all.filter(({ outcome }) => outcome === "started");
  const result = await client.handle(lastRun?.id ?? "").result();
  expect(result.model).toBe("simulator:test");
  for (const { id = "" } of ticks) await client.handle(id).result();
  expect(site.simulator.journal.entries()).toHaveLength(ticks.length);
  expect(await schedules.delete("hello")).toBe(true);
  expect(await schedules.delete("hello")).toBe(false);
  const left = [
    `${keys.schedule("hello")}*`,
    `${keys.prefix}:schedules:repeat`,
    `${keys.prefix}:schedules:delayed`,
  ];
  expect((await Promise.all(left.map((pattern) => redis.keys(pattern)))).flat()).toEqual([]);
});

test.each([
  ["none", 0],
  ["last", 1],
  ["all", 3],
] as const)("three hours without a worker, catchUp %s", async (catchUp, started) => {
  const { client, work, runs, redis, settings } = await workflowSite();
  const { schedules } = client;
  const keys = redisKeys(settings.namespace);
  // Half an hour from now, so that no tick is on time.
  const cron = `${(new Date().getUTCMinutes() + 30) % 60} * * * *`;
  const now = Date.now();
  const options = { id: "h", workflow: report, input: { of: "h" }, cron, catchUp };
  await schedules.create(options);
  // As if that had been three hours ago, and the tick were due since.
  await redis.hset(keys.schedule("h"), "doneUntil", now - 3 * HOUR);
  const [job = ""] = await redis.zrange(`${keys.prefix}:schedules:delayed`, "0", "0");
  await redis.zadd(`${keys.prefix}:schedules:delayed`, 1, job);
  await work(report);
  const missed = 3 - started;
  await waitFor("the decision", async () => {
    const { counts } = await schedules.get("h");
    return counts.started === started && counts.missed === missed;
  });
  const { ticks } = await schedules.get("h");
  const planned = latestTimes({ cron, timezone: "UTC" }, now - 3 * HOUR, now, 9);
  expect(
    ticks
      .filter(({ outcome }) => outcome === "started")
      .map(({ plannedAt }) => plannedAt.getTime())
      .sort(),
  ).toEqual(planned.slice(3 - started));
  for (const { id, outcome } of ticks) if (outcome === "started") await runs.open(id ?? "").result();
});

test("overlap: skip leaves a tick out, queue keeps it until the earlier run has ended, allow runs it beside", async () => {
  const { client, work, runs } = await workflowSite();
  const { schedules } = client;
  await work(slow);
  const make = (overlap: "skip" | "queue" | "allow") =>
    schedules.create({ id: overlap, workflow: slow, input: {}, everyMs: 1000, overlap });
  await Promise.all([make("skip"), make("queue"), make("allow")]);
  await waitFor("skips", async () => (await schedules.get("skip")).counts.skipped >= 2);
  const skip = await schedules.pause("skip");
  expect(skip.counts.started).toBe(1);
  await waitFor("two that wait", async () => (await schedules.get("queue")).waiting.length >= 2);
  expect((await schedules.get("queue")).counts.started).toBe(1);
  await waitFor("side by side", async () => (await schedules.get("allow")).running.length >= 2);
  await schedules.pause("allow");
  const waited = await schedules.get("queue");
  const [first = ""] = waited.running;
  await runs.open(first).signal("end");
  await waitFor("the next", async () => (await schedules.get("queue")).counts.started >= 2);
  const { ticks } = await schedules.get("queue");
  // On a busy machine some were missed in between.
  const [later, earlier] = ticks.filter(({ outcome }) => outcome === "started");
  expect(earlier?.id).toBe(first);
  expect(later?.plannedAt).toEqual(waited.waiting[0]);
});

test("trigger runs at once, also while it is paused; an unknown schedule is said to be", async () => {
  const { client, work, runs } = await workflowSite();
  const { schedules } = client;
  await work(report);
  const schedule = await schedules.create({ id: "t", workflow: report, input: { of: "t" }, cron: "@yearly" });
  await schedule.pause();
  await runs.open(await schedule.trigger()).result();
  const job = await schedules.create({ id: "c", completion: "now", cron: "@yearly" });
  expect((await client.handle(await job.trigger()).result()).finalResponse).toContain("Answer");
  expect(await schedule.status()).toMatchObject({ state: "paused", counts: { started: 1 } });
  expect((await schedules.list()).map(({ id }) => id)).toEqual(["t", "c"]);
  for (const act of ["get", "pause", "resume", "trigger", "next"] as const)
    await expect(schedules[act]("none")).rejects.toThrow('no schedule "none"');
});

test("a tenant's schedules are not there for another one, and what they start is its own", async () => {
  const { client, settings, work } = await workflowSite();
  await work(report);
  const of = (tenant: string) => {
    const tenants = new GlueLLM({ mode: "fleet", settings, tenant });
    onTestFinished(() => tenants.close());
    return tenants;
  };
  const [a, b] = [of("a"), of("b")];
  const options = { id: "mine", workflow: report, input: { of: "mine" }, cron: "@yearly" };
  await a.schedules.create(options);
  await expect(b.schedules.create(options)).rejects.toThrow(/another schedule "mine"/);
  expect(await b.schedules.list()).toEqual([]);
  expect(await b.schedules.delete("mine")).toBe(false);
  for (const act of ["get", "pause", "resume", "trigger"] as const)
    await expect(b.schedules[act]("mine"), act).rejects.toThrow('no schedule "mine"');
  const run = await a.schedules.trigger("mine");
  await a.workflows.open(run).result();
  await expect(b.workflows.open(run).status()).rejects.toThrow();
  expect((await client.schedules.list()).map(({ id }) => id)).toEqual(["mine"]);
});

const wrong: [string, object, RegExp][] = [
  ["a day that never comes", { cron: "0 0 30 2 *" }, /the cron pattern "0 0 30 2 \*" never fires/],
  ["too few fields", { cron: "* * *" }, /"\* \* \*" is no cron pattern/],
  ["a minute there is not", { cron: "61 * * * *" }, /is no cron pattern: Invalid value for minute: 61/],
  ["a date", { cron: "2030-01-01T00:00:00" }, /is no cron pattern/],
  ["an unknown timezone", { cron: "0 0 * * *", timezone: "Mars/Base" }, /there is no timezone "Mars\/Base"/],
  ["everyMs 0", { everyMs: 0 }, /everyMs must be a whole number of milliseconds from 1/],
  ["everyMs NaN", { everyMs: Number.NaN }, /everyMs/],
  ["both", { cron: "0 0 * * *", everyMs: 1000 }, /both cron and everyMs/],
  ["no times", {}, /neither cron nor everyMs/],
  ["an unknown workflow", { everyMs: 1000, workflow: "nope" }, /no workflow "nope"/],
  ["a wrong input", { everyMs: 1000, input: { of: 1 } }, /the input of workflow "report" is wrong at of/],
  ["nothing to run", { everyMs: 1000, workflow: undefined }, /neither workflow nor completion/],
  ["both to run", { everyMs: 1000, completion: "x" }, /both workflow and completion/],
  ["a bad id", { everyMs: 1000, id: "a b" }, /wrong at id/],
  ["an unknown option", { everyMs: 1000, every: 1 }, /every/],
  ["an unknown policy", { everyMs: 1000, overlap: "drop" }, /wrong at overlap/],
  ["too much to catch up", { everyMs: 1000, maxCatchUp: 1e6 }, /wrong at maxCatchUp/],
  [
    "a conversation",
    { everyMs: 1000, workflow: undefined, input: undefined, completion: { message: "x", conversation: "c" } },
    /completion.conversation/,
  ],
  [
    "an unknown model",
    { everyMs: 1000, workflow: undefined, input: undefined, completion: { message: "x", model: "nope:x" } },
    /nope/,
  ],
  ["a huge input", { everyMs: 1000, input: { of: "x".repeat(2 ** 20) } }, /the limit is 1048576/],
];
test("what is wrong is said in one error, and nothing is created", async () => {
  const { client } = await workflowSite();
  for (const [what, options, message] of wrong) {
    const given = { id: "x", workflow: report, input: { of: "x" }, ...options };
    await expect(client.schedules.create(given as never), what).rejects.toThrow(message);
  }
  expect(await client.schedules.list()).toEqual([]);
});
