import { Queue } from "bullmq";
import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineActivity, NonRetryableError } from "../../src/index.ts";
import { MAX_ACTIVITY_BYTES } from "../../src/shared/activity-payload.ts";
import { activityQueue } from "../../src/shared/catalog.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { readRunJournal } from "../../src/store/run-journal.ts";
import { anyActivity, failure, one } from "../support/any-activity.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

describe("an activity", () => {
  test("is done by any worker with it; what goes in and comes out keeps its type", async () => {
    const { runs, work, settings } = await workflowSite();
    const later = defineActivity({
      name: "later",
      input: z.object({ at: z.date(), days: z.number().default(1) }),
      output: z.map(z.string(), z.date()),
      run: ({ at, days }) => new Map([["at", new Date(at.getTime() + days * 86_400_000)]]),
    });
    const nothing = anyActivity(() => undefined, {}, "nothing");
    const both = anyWorkflow("both", async (ctx) => {
      const typed = await ctx.activity(later, { at: new Date(0) });
      const named = await ctx.activity<Map<string, Date>>("later", { at: new Date(0), days: 2 });
      return [typed.get("at")?.getTime(), named.get("at")?.getTime(), await ctx.activity(nothing, {})];
    });
    await work(both);
    await work(later, nothing);
    const run = await runs.start(both, {});
    expect(await run.result()).toEqual([86_400_000, 2 * 86_400_000, undefined]);
    const steps = await run.steps();
    expect(steps.map(({ step, kind, state, subject }) => [step, kind, state, subject])).toEqual([
      ["later", "activity", "succeeded", "later"],
      ["later#2", "activity", "succeeded", "later"],
      ["nothing", "activity", "succeeded", "nothing"],
    ]);
    const ended = (await readRunJournal(testStore(settings.namespace), run.id)).filter(
      ({ type }) => type === "ended",
    );
    expect(ended).toHaveLength(3);
  });

  test("that no living worker has is named by the run, the queue and the versions", async () => {
    const { runs, work, site } = await workflowSite();
    await work(one());
    const run = await runs.start(one(), {});
    const reason = 'a worker with activity "work"';
    await waitFor("the reason", async () => (await run.status()).waitsFor.includes(reason));
    expect(await runs.activities()).toEqual([{ activity: "work", workers: [], open: 1 }]);
    const [versions, status, queues] = await Promise.all([
      site.run("workflow", "versions"),
      site.run("workflow", "status", run.id),
      site.run("queues"),
    ]);
    expect(versions.stdout).toMatch(/ACTIVITY +OPEN +WORKERS\nwork +1 +none/);
    expect(status.stdout).toContain(`waits for  ${reason}`);
    expect(queues.stdout).toMatch(new RegExp(`activities.work .*${reason}`));
    await work(anyActivity(() => "done"));
    expect(await run.result()).toBe("done");
    expect((await run.status()).waitsFor).toEqual([]);
  });

  test("what does not fit or is too large is refused where it is", async () => {
    const { runs, work } = await workflowSite();
    const strict = defineActivity({
      name: "strict",
      input: z.object({ width: z.number() }),
      output: z.string(),
      run: ({ width }) => (width === 0 ? (0 as never) : "x".repeat(width)),
    });
    const asked = anyWorkflow("asked", async (ctx, { width = 0, kind = 0 }) => {
      const huge = "x".repeat(kind === 2 ? MAX_ACTIVITY_BYTES : 0);
      if (kind === 0) return ctx.activity(strict, { width });
      return ctx.activity("strict", kind === 1 ? { width: "wide" } : { width: huge });
    });
    await work(asked, strict);
    const codeOf = async (input: Record<string, number>) =>
      (await failure((await runs.start(asked, input)).result())) as { code: string; message: string };
    expect(await codeOf({ kind: 1 })).toMatchObject({
      code: "invalid_input",
      message: expect.stringContaining('the input of activity "strict" is wrong at width'),
    });
    expect(await codeOf({ width: 0 })).toMatchObject({
      message: expect.stringContaining('the output of activity "strict" is wrong'),
    });
    expect(await codeOf({ kind: 2 })).toMatchObject({ code: "too_large" });
    expect(await codeOf({ width: MAX_ACTIVITY_BYTES })).toMatchObject({ code: "too_large" });
    expect(await (await runs.start(asked, { width: 100_000 })).result()).toHaveLength(100_000);
  });

  test("a job of it that cannot be read any more is made anew by its run", async () => {
    const { runs, work, settings } = await workflowSite();
    await work(one());
    const run = await runs.start(one("given"), {});
    await waitFor("its job", async () => (await runs.activities())[0]?.open === 1);
    const [step] = await run.steps();
    const store = testStore(settings.namespace);
    await store.redis.hset(jobKey(store, activityQueue("work"), step?.job ?? ""), "data", "{damaged");
    await work(anyActivity(() => "done"));
    expect(await run.result()).toBe("done");
  });

  test("what it told of itself and cannot be read any more fails it, once", async () => {
    const { runs, work, settings } = await workflowSite();
    await work(one());
    const run = await runs.start(one("given"), {});
    await waitFor("its job", async () => (await runs.activities())[0]?.open === 1);
    const [step] = await run.steps();
    const { redis, keys } = testStore(settings.namespace);
    await redis.hset(keys.activity(step?.job ?? ""), "details", "{oops");
    await work(anyActivity(() => "done"));
    await expect(run.result()).rejects.toMatchObject({ code: "corrupt_data" });
  });

  test("its definition is checked", () => {
    const make = (more: object) => () => anyActivity(() => 1, more);
    expect(make({ retry: { maxAttempts: 0 } })).toThrow('activity "work": retry.maxAttempts');
    expect(make({ heartbeatMs: Number.NaN })).toThrow('activity "work": heartbeatMs');
    expect(make({ timeoutMs: 0 })).toThrow('activity "work": timeoutMs');
    expect(() => anyActivity(() => 1, {}, "a b")).toThrow("cannot name an activity");
  });
});

describe("tries of an activity", () => {
  test("are counted over all workers; the last error keeps class, code and causes", async () => {
    const { runs, work } = await workflowSite();
    let tries = 0;
    const flaky = anyActivity(
      () => {
        tries += 1;
        throw Object.assign(new RangeError("no", { cause: new Error("deep") }), { code: "E_NO" });
      },
      { retry: { maxAttempts: 4, minWaitMs: 30, maxWaitMs: 30 } },
    );
    await work(one());
    const run = await runs.start(one(), {});
    for (const n of [1, 2]) {
      const worker = await work(flaky);
      await waitFor("a try", () => tries >= n);
      await worker.close();
    }
    await work(flaky);
    expect(await failure(run.result())).toMatchObject({
      name: "RangeError",
      code: "E_NO",
      message: "no",
      cause: { message: "deep" },
    });
    expect(tries).toBe(4);
  });

  test("keep their distance where a worker's clock lets one begin too early", async () => {
    const { runs, work, redis, settings } = await workflowSite();
    const triedAt: number[] = [];
    const flaky = anyActivity(
      () => {
        if (triedAt.push(performance.now()) === 1) throw new Error("no");
      },
      { retry: { maxAttempts: 2, minWaitMs: 3000, maxWaitMs: 3000 } },
    );
    await work(one(), flaky);
    const run = await runs.start(one(), {});
    const { prefix } = redisKeys(settings.namespace);
    const queue = new Queue(activityQueue("work"), { connection: redis, prefix });
    onTestFinished(() => queue.close());
    // As a worker does whose clock is ahead.
    await (await waitFor("the second try to wait", async () => (await queue.getDelayed()).at(0))).promote();
    await run.result();
    const [first = 0, second = 0] = triedAt;
    expect(second - first).toBeGreaterThanOrEqual(2800);
  });

  test("begin anew with a retry of the run; a fork takes over what they brought", async () => {
    const { runs, work } = await workflowSite();
    let tries = 0;
    const flaky = anyActivity((n: number) => {
      tries += 1;
      if (tries === 2) throw new Error("no");
      return n * 10;
    });
    const two = anyWorkflow("two", async (ctx) => [
      await ctx.activity("work", 1),
      await ctx.activity("work", 2),
    ]);
    await work(two, flaky);
    const run = await runs.start(two, {});
    expect(await failure(run.result())).toMatchObject({ message: "no" });
    await run.retry();
    expect(await run.result()).toEqual([10, 20]);
    expect(tries).toBe(3);
    const fork = await run.fork({ fromStep: "work#2", changes: { results: { work: "other" } } });
    expect(await fork.result()).toEqual(["other", 20]);
    expect(tries).toBe(4);
  });

  test("end with a NonRetryableError; a try past its time aborts and counts", async () => {
    const { runs, work } = await workflowSite();
    let tries = 0;
    const aborted: unknown[] = [];
    const fatal = anyActivity(
      () => {
        tries += 1;
        throw new NonRetryableError("never");
      },
      { retry: { maxAttempts: 9 } },
    );
    const slow = anyActivity(
      (_input, { signal }) =>
        new Promise(() => signal.addEventListener("abort", () => aborted.push(signal.reason))),
      { timeoutMs: 30, retry: { maxAttempts: 2, minWaitMs: 1 } },
      "slow",
    );
    const both = anyWorkflow("both", async (ctx) =>
      [await failure(ctx.activity("work")), await failure(ctx.activity("slow"))].map(({ name, code }) => [
        name,
        code,
      ]),
    );
    await work(both, fatal, slow);
    expect(await (await runs.start(both, {})).result()).toEqual([
      ["NonRetryableError", expect.anything()],
      ["WorkflowError", "step_timeout"],
    ]);
    expect(tries).toBe(1);
    expect(aborted).toHaveLength(2);
  });

  test("a run's or a step's end aborts it, and nobody takes it again", async () => {
    const { runs, work } = await workflowSite();
    const aborted: unknown[] = [];
    let begun = 0;
    const hanging = anyActivity((_input, { signal }) => {
      begun += 1;
      return new Promise(() => signal.addEventListener("abort", () => aborted.push(signal.reason)));
    });
    const raced = anyWorkflow("raced", async (ctx) => {
      const loser = ctx.activity("work").catch((error: { code: string }) => error.code);
      await ctx.waitFor("go");
      ctx.cancel("work");
      return loser;
    });
    await work(one(), raced, hanging);
    const [cancelled, racing] = [await runs.start(one(), {}), await runs.start(raced, {})];
    await waitFor("both at work", () => begun === 2);
    expect(await cancelled.cancel()).toBe(true);
    await racing.signal("go");
    expect(await racing.result()).toBe("cancelled");
    await waitFor("both aborted", () => aborted.length === 2);
    expect(aborted).toEqual(["cancelled", "cancelled"]);
    await waitFor("no job", async () => (await runs.activities())[0]?.open === 0);
    expect(begun).toBe(2);
  });
});

test("2,000 activities spread over three workers, each done and recorded once", async () => {
  const { runs, work, settings } = await workflowSite();
  const count = 2000;
  const done = new Map<number, string[]>();
  const doneBy = (worker: string) =>
    anyActivity((n: number) => {
      done.set(n, [...(done.get(n) ?? []), worker]);
      return n * 2;
    });
  const many = anyWorkflow("many", (ctx) =>
    Promise.all(Array.from({ length: count }, (_, n) => ctx.activity<number>("work", n))),
  );
  for (const worker of ["a", "b", "c"]) await work(doneBy(worker));
  await work(many);
  const run = await runs.start(many, {});
  expect(await run.result()).toEqual(Array.from({ length: count }, (_, n) => n * 2));
  const workers = [...done.values()].flat();
  expect(workers).toHaveLength(count);
  for (const worker of ["a", "b", "c"]) {
    expect(workers.filter((one) => one === worker).length).toBeGreaterThan(count / 20);
  }
  const journal = await readRunJournal(testStore(settings.namespace), run.id);
  expect(journal.filter(({ type }) => type === "ended")).toHaveLength(count);
});
