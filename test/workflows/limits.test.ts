import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, type WorkflowContext, type WorkflowLimits } from "../../src/index.ts";
import { readRun } from "../../src/store/run-record.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

interface Given {
  of: string;
  n: number;
}

/** A workflow `limited` whose input says whom it is of. */
const limited = <T>(limits: WorkflowLimits<Given>, run: (ctx: WorkflowContext, input: Given) => Promise<T>) =>
  defineWorkflow({
    name: "limited",
    input: z.object({ of: z.string(), n: z.number().default(0) }),
    output: z.any() as z.ZodType<T>,
    run,
    ...limits,
  });

const untilGo = (ctx: WorkflowContext) => ctx.waitFor("go");

describe("concurrency", () => {
  test("so many runs of a key go on at a time, in the order of their starts; others sleep and say so", async () => {
    const { runs, work, site, queueOf } = await workflowSite();
    const begun: string[] = [];
    const workflow = limited({ concurrency: { limit: 2, key: "of" } }, async (ctx, { of, n }) => {
      await ctx.run("note", () => void begun.push(`${of}${n}`));
      await untilGo(ctx);
      return n;
    });
    const worker = await work(workflow);
    const start = (of: string, n: number) => runs.start(workflow, { of, n }, { runId: `${of}-${n}` });
    const handles = [];
    for (let n = 0; n < 5; n++) {
      const run = await start("a", n);
      handles.push(run);
      const isSettled = async () =>
        begun.includes(`a${n}`) || (await run.status()).waitsFor[0]?.includes("a place");
      await waitFor("its begin or its wait", isSettled);
    }
    const other = await start("b", 0);
    await waitFor("the other key", () => begun.includes("b0"));
    expect(begun).toEqual(["a0", "a1", "b0"]);
    const last = "a place of concurrency:limited:a: 2 runs have all, 2 come before it";
    expect((await handles[4]?.status())?.waitsFor).toEqual([last]);
    expect(await queueOf("limited").getJobState("a-4")).toBe("waiting-children");
    const [list, queues] = await Promise.all([site.run("workflow", "list", "--runs"), site.run("queues")]);
    expect(list.stdout).toMatch(new RegExp(`a-4 +limited +running .*${last}`));
    expect(queues.stdout).toContain("places: 3 runs of 1 limit of concurrency");
    // A worker that comes later finds them where they are.
    await worker.close();
    await work(workflow);
    for (const [n, run] of handles.entries()) {
      await run.signal("go");
      await run.result();
      if (n < 3) await waitFor("the next one", () => begun.includes(`a${n + 2}`));
    }
    await other.signal("go");
    await other.result();
    expect(begun).toEqual(["a0", "a1", "b0", "a2", "a3", "a4"]);
    expect(await testStore(site.namespace).redis.keys("*workflow-limit*holders*")).toEqual([]);
  });

  test("a place goes on however its run ends; who no longer waits is passed over; a retry waits again", async () => {
    const { runs, work } = await workflowSite();
    let tries = 0;
    const workflow = limited({ concurrency: { limit: 1 } }, async (ctx, { of }) => {
      if (of === "failing") {
        await ctx.waitFor("fail");
        await ctx.run("fail", () => {
          if (tries++ === 0) throw new Error("no");
        });
      }
      return untilGo(ctx);
    });
    await work(workflow);
    const start = async (of: string, more = {}) => runs.start(workflow, { of }, { runId: of, ...more });
    const waits = (runId: string) =>
      waitFor(`${runId} waits`, async () =>
        (await runs.open(runId).status()).waitsFor[0]?.startsWith("a place"),
      );
    const goesOn = (runId: string) =>
      waitFor(`${runId} goes on`, async () =>
        (await runs.open(runId).status()).waitsFor[0]?.startsWith("signal"),
      );
    const failing = await start("failing");
    await goesOn("failing");
    await start("cancelled");
    await waits("cancelled");
    const gone = await start("gone");
    await waits("gone");
    // So long that the one before it is at work by then.
    const late = await start("late", { deadlineMs: 20_000 });
    await waits("late");
    const short = await start("short", { deadlineMs: 500 });
    await expect(short.result()).rejects.toMatchObject({ code: "deadline_exceeded" });
    await gone.cancel();
    await failing.signal("fail");
    await expect(failing.result()).rejects.toMatchObject({ message: "no" });
    await goesOn("cancelled");
    await failing.retry();
    await waits("failing");
    await runs.open("cancelled").cancel();
    await goesOn("late");
    await late.cancel();
    await waitFor("the retry", async () => (await failing.status()).waitsFor[0]?.startsWith("signal"));
    await failing.signal("go", "done");
    expect((await failing.status()).state).toBe("running");
  });

  test("runs that need no worker of theirs keep no place when Redis lost their end or job", async () => {
    const { runs, work, settings, queueOf } = await workflowSite();
    const workflow = limited({ concurrency: { limit: 2 } }, untilGo);
    await work(workflow);
    const store = testStore(settings.namespace);
    const holders = store.keys.workflowLimit("concurrency:limited:", "holders");
    const first = await runs.start(workflow, { of: "a" });
    await waitFor("its place", async () => (await store.redis.zcard(holders)) === 1);
    await store.redis.zadd(holders, 1, "a-run-that-never-was");
    // Its own begin finds that out.
    const second = await runs.start(workflow, { of: "b" });
    await waitFor("its begin", async () => (await readRun(store, second.id))?.begunAt !== undefined);
    const third = await runs.start(workflow, { of: "c" });
    await waitFor("its wait", async () => (await third.status()).waitsFor[0]?.startsWith("a place"));
    // The sweeper does, too: a run gone with its record, and one whose job is gone.
    await queueOf("limited").remove(first.id, { removeChildren: false });
    await store.redis.del(store.keys.workflow(second.id));
    await waitFor("the third", async () => (await readRun(store, third.id))?.begunAt !== undefined);
    for (const run of [first, third]) await run.signal("go", "went");
    expect(await Promise.all([first.result(), third.result()])).toEqual(["went", "went"]);
  });

  test("child runs and forks wait for a place too", async () => {
    const { runs, work } = await workflowSite();
    let active = 0;
    let most = 0;
    const child = limited({ concurrency: { limit: 2, key: ({ of }) => of } }, async (ctx, { n }) => {
      most = Math.max(most, ++active);
      await ctx.sleep(20);
      active -= 1;
      return n;
    });
    const parent = anyWorkflow("parent", (ctx) =>
      Promise.all([1, 2, 3, 4, 5].map((n) => ctx.child(`child ${n}`, child, { of: "a", n }))),
    );
    await work(parent, child);
    const run = await runs.start(parent, {});
    expect(await run.result()).toEqual([1, 2, 3, 4, 5]);
    expect(most).toBe(2);
  });
});

test("throttle: no more begin within any period; the others begin later, and say when", async () => {
  const { runs, work, settings } = await workflowSite();
  const workflow = limited({ throttle: { limit: 2, periodMs: 600, key: "of" } }, async (_ctx, { n }) => n);
  const handles = [];
  for (let n = 0; n < 6; n++) handles.push(await runs.start(workflow, { of: "a", n }));
  const free = await runs.start(workflow, { of: "b", n: 9 });
  await work(workflow);
  expect(await free.result()).toBe(9);
  const last = handles[5];
  const { waitsFor, state } = (await last?.status()) ?? {};
  if (state === "running") expect(waitsFor?.[0]).toMatch(/^its begin at \d{4}-.*, by throttle$/);
  await Promise.all(handles.map((run) => run.result()));
  const store = testStore(settings.namespace);
  const startAt = await Promise.all(
    handles.map(async ({ id }) => {
      const { startAt: at = 0, createdAt = 0, begunAt = createdAt } = (await readRun(store, id)) ?? {};
      expect(begunAt).toBeGreaterThanOrEqual(at);
      return at || createdAt;
    }),
  );
  for (let n = 2; n < 6; n++) expect((startAt[n] ?? 0) - (startAt[n - 2] ?? 0)).toBeGreaterThanOrEqual(600);
});

test("debounce: of several starts one run begins after quiet, with the last input", async () => {
  const { runs, work } = await workflowSite();
  const begun: number[] = [];
  const workflow = limited({ debounce: { periodMs: 400, key: "of" } }, async (ctx, { n }) => {
    await ctx.run("note", () => void begun.push(n));
    return { n };
  });
  await work(workflow);
  const ids = [];
  for (let n = 1; n <= 5; n++)
    ids.push((await runs.start(workflow, { of: "a", n }, { runId: `run-${n}` })).id);
  expect(new Set(ids).size).toBe(1);
  const run = runs.open(ids[0] ?? "");
  const { waitsFor, state } = await run.status();
  if (state === "running" && begun.length === 0)
    expect(waitsFor[0]).toMatch(/^its begin at .*, by debounce$/);
  expect(await run.result()).toEqual({ n: 5 });
  expect(begun).toEqual([5]);
  const next = await runs.start(workflow, { of: "a", n: 6 }, { runId: "run-6" });
  expect(next.id).toBe("run-6");
  // Its input was another one at first: that is no conflict.
  expect((await runs.start(workflow, { of: "a", n: 1 }, { runId: ids[0] ?? "" })).id).toBe(ids[0]);
  expect(await next.result()).toEqual({ n: 6 });
});

describe("singleton", () => {
  test("a second start stands for the run that goes on, until that has ended", async () => {
    const { runs, work, site } = await workflowSite();
    const workflow = limited({ singleton: true }, untilGo);
    await work(workflow);
    const first = await runs.start(workflow, { of: "a" }, { runId: "first" });
    const again = await Promise.all([1, 2, 3].map((n) => runs.start(workflow, { of: "b", n })));
    expect(again.map(({ id }) => id)).toEqual(["first", "first", "first"]);
    await first.signal("go", "went");
    expect(await again[0]?.result()).toBe("went");
    const second = await runs.start(workflow, { of: "a" }, { runId: "second" });
    expect(second.id).toBe("second");
    expect(await second.cancel()).toBe(true);
    expect((await runs.start(workflow, { of: "a" }, { runId: "third" })).id).toBe("third");
    expect((await site.run("workflow", "list", "--runs")).stdout).toContain("third");
  });

  test("or is refused, by its key", async () => {
    const { runs } = await workflowSite();
    const workflow = limited({ singleton: { key: "of", onConflict: "refuse" } }, untilGo);
    const first = await runs.start(workflow, { of: "a" });
    await expect(runs.start(workflow, { of: "a", n: 1 })).rejects.toMatchObject({
      code: "singleton_running",
      message: expect.stringContaining(first.id),
    });
    expect((await runs.start(workflow, { of: "b" })).id).not.toBe(first.id);
    // The same start again is no second one.
    expect((await runs.start(workflow, { of: "a" }, { runId: first.id })).id).toBe(first.id);
  });
});

test("limits that cannot be are refused by one error, where they are defined or where the run is started", async () => {
  const make = (limits: object) => () => limited(limits, untilGo);
  const whole = (what: string) => `${what} must be a whole number from 1`;
  for (const value of [0, -1, Number.NaN, 1.5, Number.POSITIVE_INFINITY, "2", undefined]) {
    expect(make({ concurrency: { limit: value } })).toThrow(
      whole('concurrency of workflow "limited": limit'),
    );
    expect(make({ throttle: { limit: 1, periodMs: value } })).toThrow(
      whole('throttle of workflow "limited": periodMs'),
    );
    expect(make({ debounce: { periodMs: value } })).toThrow(
      whole('debounce of workflow "limited": periodMs'),
    );
  }
  expect(make({ concurrency: 3 })).toThrow("must be an object of limit, key, not 3");
  expect(make({ concurrency: { limit: 1, keys: "of" } })).toThrow('unknown field "keys"');
  expect(make({ concurrency: { limit: 1, key: "" } })).toThrow("key must be a function");
  expect(make({ singleton: { onConflict: "queue" } })).toThrow('onConflict must be "join" or "refuse"');
  expect(make({ throttle: { limit: 1, periodMs: 1 }, debounce: { periodMs: 1 } })).toThrow(
    "both debounce and throttle",
  );
  const { runs } = await workflowSite();
  const startWith = (key: unknown) =>
    runs.start(limited({ concurrency: { limit: 1, key: key as never } }, untilGo), { of: "a" });
  const threw = () => {
    throw new Error("no key");
  };
  await expect(startWith(threw)).rejects.toMatchObject({
    code: "limit_key",
    message: expect.stringContaining("threw: no key"),
  });
  await expect(startWith("of.id")).rejects.toMatchObject({
    message: expect.stringContaining("not undefined"),
  });
  await expect(startWith(() => Number.NaN)).rejects.toMatchObject({ code: "limit_key" });
  await expect(startWith(() => Promise.reject(new Error("late")))).rejects.toMatchObject({
    message: expect.stringContaining("not a promise"),
  });
  await expect(startWith(() => null)).rejects.toMatchObject({ message: expect.stringContaining("not null") });
});
