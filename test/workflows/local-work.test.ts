import { describe, expect, test } from "vitest";
import { type GlueError, type LocalOptions, NonRetryableError, task } from "../../src/index.ts";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { jobLockKey } from "../../src/store/bullmq-internals.ts";
import { notifyRun } from "../../src/store/run-journal.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const failing = () => Promise.reject(new Error("no"));

describe("tries", () => {
  test("are counted over all workers, and their waits too", async () => {
    const { runs, host } = await workflowSite();
    let tries = 0;
    const flaky = anyWorkflow("flaky", (ctx) =>
      ctx.run(
        "flaky",
        () => {
          tries += 1;
          return failing();
        },
        {
          retry: { maxAttempts: 4, minWaitMs: 50, maxWaitMs: 50 },
        },
      ),
    );
    const run = await runs.start(flaky, {});
    for (const n of [1, 2]) {
      const worker = await host([flaky]);
      await waitFor("a try", () => tries >= n);
      // A try that was broken off does not count; one that failed does.
      await worker.close({ drainMs: 0 });
    }
    await host([flaky]);
    await expect(run.result()).rejects.toMatchObject({ message: "no" });
    expect(tries).toBeGreaterThanOrEqual(4);
    expect(tries).toBeLessThanOrEqual(5);
  });

  test("end with a NonRetryableError, of a task too", async () => {
    const { runs, host } = await workflowSite();
    let tries = 0;
    const retry = { maxAttempts: 5, minWaitMs: 600_000 };
    const fatal = task(
      "fatal",
      () => {
        tries += 1;
        throw new NonRetryableError("never", { code: "bad_card" });
      },
      {
        retry,
      },
    );
    const once = anyWorkflow("once", () => fatal());
    await host([once]);
    const failure = (await runs.start(once, {})).result();
    await expect(failure).rejects.toMatchObject({ message: "never", code: "bad_card" });
    expect(tries).toBe(1);
  });

  test("that take too long fail, and are told to stop", async () => {
    const { runs, host } = await workflowSite();
    const told: unknown[] = [];
    const slow = anyWorkflow("slow", (ctx) =>
      ctx.run(
        "slow",
        (signal) => {
          signal.addEventListener("abort", () => told.push((signal.reason as GlueError).code));
          return told.length === 0 ? new Promise(() => {}) : "second";
        },
        { timeoutMs: 30, retry: { maxAttempts: 2, minWaitMs: 1 } },
      ),
    );
    const hopeless = anyWorkflow("hopeless", (ctx) =>
      ctx.run("slow", () => new Promise(() => {}), { timeoutMs: 5 }),
    );
    await host([slow, hopeless]);
    expect(await (await runs.start(slow, {})).result()).toBe("second");
    expect(told[0]).toBe("step_timeout");
    await expect((await runs.start(hopeless, {})).result()).rejects.toMatchObject({ code: "step_timeout" });
  });

  test("of numbers that are none are refused at once, naming the option", async () => {
    const { runs, host } = await workflowSite();
    const wrong: [LocalOptions, RegExp][] = [
      [{ retry: { maxAttempts: Number.NaN } }, /maxAttempts .* not NaN/],
      [{ retry: { maxAttempts: 0 } }, /maxAttempts/],
      [{ retry: { maxAttempts: 1.5 } }, /maxAttempts/],
      [{ retry: { maxAttempts: "3" as never } }, /maxAttempts/],
      [{ retry: { maxAttempts: 2, minWaitMs: Number.NaN } }, /minWaitMs/],
      [{ retry: { maxAttempts: 2, minWaitMs: -1 } }, /minWaitMs/],
      [{ retry: { maxAttempts: 2, maxWaitMs: Number.POSITIVE_INFINITY } }, /maxWaitMs/],
      [{ timeoutMs: Number.NaN }, /timeoutMs/],
      [{ timeoutMs: 0 }, /timeoutMs/],
    ];
    let calls = 0;
    const refused = anyWorkflow("refused", async (ctx) => {
      const faults = wrong.map(([options]) =>
        ctx.run("step", () => ++calls, options).catch((e: Error) => e.message),
      );
      return Promise.all(faults);
    });
    await host([refused]);
    const messages = await (await runs.start(refused, {})).result();
    for (const [n, [, message]] of wrong.entries()) expect(messages[n]).toMatch(message);
    expect(calls).toBe(0);
  });
});

test("local work under way is shown, and no longer when it has ended", async () => {
  const { runs, host } = await workflowSite();
  const release = Promise.withResolvers<string>();
  const long = anyWorkflow("long", async (ctx) => {
    const text = await ctx.run("long", () => release.promise);
    await ctx.waitFor("go");
    return text;
  });
  await host([long]);
  const run = await runs.start(long, {});
  const steps = () => run.steps();
  await waitFor("the work", async () => (await steps()).length === 1);
  const [begun] = await steps();
  expect(begun).toMatchObject({
    step: "long",
    kind: "local",
    state: "running",
    startedAt: expect.any(Date),
  });
  expect((await run.status()).state).toBe("running");
  release.resolve("done");
  await waitFor("the wait", async () => (await steps()).length === 2);
  const [ended] = await steps();
  expect(ended).toMatchObject({ step: "long", state: "succeeded", startedAt: begun?.startedAt });
  await run.signal("go");
  expect(await run.result()).toBe("done");
});

describe("a step that its workers do not survive", () => {
  test("is done again up to three times when it outlives their locks, then fails by its name", async () => {
    const { runs, host, settings } = await workflowSite();
    const store = testStore(settings.namespace);
    const releases: (() => void)[] = [];
    const slow = anyWorkflow("slow", async (ctx) => {
      await ctx.run("before", () => 1);
      return ctx.run("slow", () => new Promise<void>((resolve) => releases.push(resolve)));
    });
    const run = await runs.start(slow, {}, { runId: "slow-run" });
    for (const n of [1, 2, 3]) {
      await host([slow]);
      await waitFor("the work", () => releases.length === n);
      // What BullMQ does to a job whose worker does not renew its lock.
      const queue = workflowQueue("slow");
      const key = (part: string) => `${store.keys.prefix}:${queue}:${part}`;
      await store.redis.del(jobLockKey(store, queue, run.id));
      await store.redis.lrem(key("active"), 0, run.id);
      await store.redis.hincrby(key(run.id), "stc", 1);
      releases[n - 1]?.();
      const overran = async () =>
        (await store.redis.lrange(store.keys.workflowJournal(run.id), 0, -1)).filter((e) =>
          e.includes("overran"),
        );
      await waitFor("the count", async () => (await overran()).length === n);
      await store.redis.lpush(key("wait"), run.id);
      await store.redis.zadd(key("marker"), 0, "0");
    }
    await expect(run.result()).rejects.toMatchObject({
      code: "step_lost",
      message: expect.stringContaining('"slow"'),
    });
    expect(releases).toHaveLength(3);
  });

  test("fails after ten lost workers; one that ended in between does not count them", async () => {
    const { runs, host, settings } = await workflowSite();
    const store = testStore(settings.namespace);
    let tries = 0;
    const poison = anyWorkflow("poison", async (ctx) => {
      await ctx.waitFor("go");
      const early = await ctx.run("early", () => "early");
      await ctx.waitFor("on");
      const fault = await ctx
        .run("poison", () => ++tries)
        .catch((error: GlueError) => [error.code, error.message]);
      return [early, fault];
    });
    const lose = async (times: number) => {
      for (let n = 0; n < times; n++) await notifyRun(store, run.id, { type: "lost", at: Date.now() });
    };
    const run = await runs.start(poison, {});
    await lose(9);
    const first = await host([poison]);
    await run.signal("go");
    await waitFor("the second wait", async () => (await run.steps()).length === 3);
    await first.close();
    await run.signal("on");
    await lose(10);
    await host([poison]);
    expect(await run.result()).toEqual(["early", ["worker_lost", expect.stringContaining('"poison"')]]);
    expect(tries).toBe(0);
  });
});
