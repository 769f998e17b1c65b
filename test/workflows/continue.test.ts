import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { countdown } from "../support/continue-workflows.ts";
import { sizeOf } from "../support/sample.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const list = z.array(z.string());

/** Takes one item a part, and goes on as new until it has so many. */
const inbox = defineWorkflow({
  name: "inbox",
  input: z.object({ want: z.number(), got: list.default([]) }),
  output: list,
  run: async (ctx, { want, got }) => {
    if (got.length === want) return got;
    const item = await Promise.race([ctx.waitFor<string>("item"), ctx.waitFor<string>("other")]);
    return ctx.continueAsNew({ want, got: [...got, item] });
  },
});

test("a chain of parts under one run id: result, sums and status follow it; the journal begins anew", async () => {
  const { site, runs, work, redis, settings } = await workflowSite();
  await work(countdown);
  const run = await runs.start(countdown, { left: 3 }, { runId: "chain" });
  const output = await run.result();
  expect(output).toEqual(["part 3", "part 2", "part 1", "part 0"]);
  const status = await run.status();
  expect(status).toMatchObject({ state: "succeeded", continued: 3, version: 1 });
  expect(status.chain).toHaveLength(3);
  const [first, second] = status.chain;
  expect(first?.startedAt).toEqual(status.createdAt);
  expect(second?.startedAt).toEqual(first?.finishedAt);
  // The same question in each part is another one each time.
  expect([...site.paidCalls()]).toEqual([["same question", 4]]);
  expect((await run.steps()).map(({ step }) => step)).toEqual(["#3/ask"]);
  expect(await redis.llen(redisKeys(settings.namespace).workflowJournal("chain"))).toBe(2);
  const tokens = site.simulator.journal
    .entries()
    .reduce((sum, { promptTokens = 0, completionTokens = 0 }) => sum + promptTokens + completionTokens, 0);
  expect(status.tokensUsed.total).toBe(tokens);
  // The first input under the id is the same run.
  expect(await (await runs.start(countdown, { left: 3 }, { runId: "chain" })).result()).toEqual(output);
});

test("signals that came early, or lost their race, come along; so does an update without an answer", async () => {
  const { runs, workReplaying, work } = await workflowSite();
  const late = defineWorkflow({
    name: "late",
    input: z.object({ part: z.number() }),
    output: z.string(),
    run: async (ctx, { part }) => {
      if (part === 0) {
        await ctx.waitFor("go");
        return ctx.continueAsNew({ part: 1 });
      }
      ctx.onUpdate("name", z.string(), (name) => `hello ${name}`);
      return ctx.waitFor<string>("end");
    },
  });
  await workReplaying(inbox);
  const run = await runs.start(inbox, { want: 6 });
  const items = ["1", "2", "3", "4", "5", "6"];
  for (const item of items) await run.signal("item", item, { dedupeId: item });
  await run.signal("item", "1", { dedupeId: "1" });
  expect(await run.result()).toEqual(items);
  await work(late);
  const other = await runs.start(late, { part: 0 });
  const update = other.update("name", "Ann");
  await waitFor("the update", async () => (await other.status()).waitsFor.length > 0);
  await other.signal("go");
  expect(await update).toBe("hello Ann");
  await other.signal("end", "done");
  expect(await other.result()).toBe("done");
});

test("a chain keeps the ids of its latest 5,000 signals and more, not of all", async () => {
  const { runs, work, redis, settings } = await workflowSite();
  await work(inbox);
  const keys = redisKeys(settings.namespace);
  const run = await runs.start(inbox, { want: 3 });
  const send = async (item: string, part: number) => {
    await run.signal("item", item, { dedupeId: item });
    await waitFor("its part", async () => (await run.status()).continued === part);
  };
  const many = (of: string) =>
    redis.sadd(keys.workflowSignals(run.id), ...Array.from({ length: 4999 }, (_, n) => `${of}${n}`));
  await many("a");
  await send("first", 1);
  expect(await redis.exists(keys.workflowSignals(run.id))).toBe(0);
  expect(await redis.scard(keys.workflowEarlierSignals(run.id))).toBe(5000);
  // Both are known still.
  await run.signal("item", "again", { dedupeId: "first" });
  await run.signal("item", "again", { dedupeId: "a7" });
  await many("b");
  await send("second", 2);
  expect(await redis.scard(keys.workflowEarlierSignals(run.id))).toBe(5000);
  await run.signal("item", "again", { dedupeId: "second" });
  await run.signal("item", "third", { dedupeId: "first" });
  expect(await run.result()).toEqual(["first", "second", "third"]);
  expect(await redis.ttl(keys.workflowEarlierSignals(run.id))).toBeLessThanOrEqual(30 * 86_400);
});

test("a child that goes on as new stays its parent's; so does a cancellation", async () => {
  const { runs, work } = await workflowSite();
  const parent = defineWorkflow({
    name: "parent",
    input: z.object({}),
    output: list,
    run: (ctx) => ctx.child("child", countdown, { left: 2 }),
  });
  await work(countdown, parent, inbox);
  expect(await (await runs.start(parent, {})).result()).toEqual(["part 2", "part 1", "part 0"]);
  const run = await runs.start(inbox, { want: 9 });
  await run.signal("item", "1");
  await waitFor("the next part", async () => (await run.status()).continued === 1);
  expect(await run.cancel()).toBe(true);
  await expect(run.result()).rejects.toThrow("cancelled");
  expect((await run.status()).state).toBe("cancelled");
});

test("the end of an earlier part's step is nobody's answer", async () => {
  const { site, runs, work } = await workflowSite();
  const racing = defineWorkflow({
    name: "racing",
    input: z.object({ part: z.number() }),
    output: z.string(),
    run: async (ctx, { part }) => {
      const asked = ctx.complete("ask", part === 0 ? 'old\n#sim {"latencyMs": 300}' : "new");
      if (part === 0) {
        await Promise.race([asked, ctx.sleep(50)]);
        return ctx.continueAsNew({ part: 1 });
      }
      await ctx.sleep(400);
      return (await asked).finalResponse;
    },
  });
  await work(racing);
  const result = await (await runs.start(racing, { part: 0 })).result();
  expect(site.simulator.journal.entries().some(({ lastUserText }) => lastUserText === "new")).toBe(true);
  expect(result).toContain("Answer");
});

test("nothing comes after it: one clear error", async () => {
  const { runs, work } = await workflowSite();
  const cases = defineWorkflow({
    name: "cases",
    input: z.object({ what: z.string() }),
    output: z.unknown(),
    run: async (ctx, { what }) => {
      const next = { what: "end" };
      if (what === "returns") void ctx.continueAsNew(next);
      if (what === "asks") {
        void ctx.continueAsNew(next);
        await ctx.run("after", () => 1);
      }
      if (what === "branch") await ctx.branches({ left: (branch) => branch.continueAsNew(next) });
      if (what === "work") await ctx.run("work", () => ctx.continueAsNew(next));
      if (what === "input") return ctx.continueAsNew({ what: 1 });
      return what;
    },
  });
  await work(cases);
  const failure = async (what: string) => {
    const run = await runs.start(cases, { what });
    return run.result().catch((error: Error) => error.message);
  };
  for (const what of ["returns", "asks", "branch"])
    expect(await failure(what), what).toMatch(/went on after ctx.continueAsNew/);
  expect(await failure("work")).toMatch(/inside the work of step "work"/);
  expect(await failure("input")).toMatch(/the input of workflow "cases" is wrong at what/);
});

test("workers killed while a run goes on as new again and again: each part once", {
  tags: "long",
}, async () => {
  const { site, runs, spawnWorker } = await workflowSite({ latencyMs: 30, jitterMs: 30 }, SHORT_LOCKS);
  const kills = sizeOf(8, 1);
  const workers = [await spawnWorker("continue-workflows.ts"), await spawnWorker("continue-workflows.ts")];
  const left = 40 + kills * 20;
  const run = await runs.start(countdown, { left });
  for (let kill = 1; kill <= kills; kill++) {
    const calls = site.simulator.journal.entries().length;
    await waitFor("calls", () => site.simulator.journal.entries().length > calls + 5);
    workers.shift()?.kill("SIGKILL");
    workers.push(await spawnWorker("continue-workflows.ts"));
  }
  expect(await run.result()).toEqual(Array.from({ length: left + 1 }, (_, n) => `part ${left - n}`));
  expect((await run.status()).continued).toBe(left);
  const repeated = site.simulator.journal.entries().length - (left + 1);
  expect(repeated).toBeLessThanOrEqual(kills);
});
