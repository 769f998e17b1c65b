import { describe, expect, test } from "vitest";
import type { GlueError } from "../../src/index.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const stateOf = async (run: { steps(): Promise<{ step: string; state: string }[]> }) =>
  Object.fromEntries((await run.steps()).map(({ step, state }) => [step, state]));

describe("a wait that lost its race", () => {
  test.each([
    ["itself", (wait: Promise<unknown>) => wait],
    ["by then", (wait: Promise<unknown>) => wait.then(() => "signal")],
  ])("is withdrawn when the run waits for the signal again, %s, in replay too", async (_how, shape) => {
    const { runs, workReplaying } = await workflowSite();
    const racing = anyWorkflow("racing", async (ctx) => {
      await Promise.race([shape(ctx.waitFor("go")), ctx.sleep("short", 1).then(() => "late")]);
      await ctx.waitFor("between");
      const second = await ctx.waitFor("go");
      await say(ctx, "after");
      return [second, await ctx.waitFor("go")];
    });
    await workReplaying(racing);
    const [early, late] = [await runs.start(racing, {}), await runs.start(racing, {})];
    for (const run of [early, late])
      await waitFor("the loss", async () => (await stateOf(run)).between === "running");
    // Before it is withdrawn, the loser would take it.
    await early.signal("go", 1);
    for (const run of [early, late]) await run.signal("between");
    await waitFor("the withdrawal", async () => (await stateOf(late))["go#2"] === "running");
    expect((await stateOf(late)).go).toBe("failed");
    await late.signal("go", 1);
    for (const run of [early, late]) {
      await run.signal("go", 2);
      expect(await run.result()).toEqual([1, 2]);
      expect(await stateOf(run)).toMatchObject({ go: "failed", "go#2": "succeeded", "go#3": "succeeded" });
    }
  });

  test("stays when it is raced again, and two side by side have a signal each", async () => {
    const { runs, workReplaying } = await workflowSite();
    const reminding = anyWorkflow("reminding", async (ctx) => {
      const approval = ctx.waitFor<string>("approve").then((by) => `by ${by}`);
      let reminders = 0;
      for (;;) {
        const first = await Promise.race([approval, ctx.sleep(20).then(() => "late")]);
        if (first !== "late") return [first, reminders > 1];
        reminders += 1;
      }
    });
    const two = anyWorkflow("two", (ctx) =>
      Promise.all([ctx.waitFor("x"), ctx.sleep(1).then(() => ctx.waitFor("x"))]),
    );
    await workReplaying(reminding, two);
    const run = await runs.start(reminding, {});
    await waitFor("reminders", async () => (await run.steps()).length > 3);
    await run.signal("approve", "Ada");
    expect(await run.result()).toEqual(["by Ada", true]);
    const both = await runs.start(two, {});
    for (const n of [1, 2]) await both.signal("x", n);
    expect(await both.result()).toEqual([1, 2]);
  });
});

test("a signal counts once for each dedupeId, after the run's end too", async () => {
  const { runs, host } = await workflowSite();
  const twice = anyWorkflow("twice", async (ctx) => [await ctx.waitFor("x"), await ctx.waitFor("x")]);
  await host([twice], 0);
  const run = await runs.start(twice, {});
  for (const [data, dedupeId] of [
    [1, "a"],
    [2, "a"],
    [3, "b"],
  ] as const)
    await run.signal("x", data, { dedupeId });
  expect(await run.result()).toEqual([1, 3]);
  await run.signal("x", 4, { dedupeId: "b" });
  await expect(run.signal("x", 5, { dedupeId: "c" })).rejects.toMatchObject({ code: "run_over" });
});

test("what a run waits for is named: signals, sleeps, local work, a paused queue; and metadata is seen at once", async () => {
  const { runs, work, queueOf } = await workflowSite();
  const release = Promise.withResolvers<void>();
  const waiting = anyWorkflow("waiting", async (ctx) => {
    await Promise.race([ctx.waitFor("go"), ctx.sleep("nap", 600_000)]);
    ctx.metadata.set("stage", "local");
    await ctx.run("local", () => release.promise);
    ctx.metadata.set("stage", "done");
    await ctx.waitFor("end");
  });
  await work(waiting);
  const run = await runs.start(waiting, {});
  const waitsFor = async () => (await run.status()).waitsFor;
  await waitFor("both", async () => (await waitsFor()).length === 2);
  expect(await waitsFor()).toEqual(['signal "go"', expect.stringMatching(/^its sleep "nap" until 20/)]);
  await run.signal("go");
  await waitFor("the work", async () => (await waitsFor())[0] === 'local work "local"');
  expect((await run.status()).metadata).toEqual({ stage: "local" });
  release.resolve();
  await waitFor("the end's wait", async () => (await waitsFor()).includes('signal "end"'));
  await queueOf("waiting").pause();
  await run.signal("end");
  await waitFor("the pause", async () => (await waitsFor())[0]?.includes("an operator's resume"));
  await queueOf("waiting").resume();
  await run.result();
  expect((await run.status()).metadata).toEqual({ stage: "done" });
});

describe("a step that its run cancels", () => {
  test("ends wherever it is, and what it brought before stays", async () => {
    const { site, runs, workReplaying } = await workflowSite();
    const aborted: string[] = [];
    const child = anyWorkflow("child", (ctx) => ctx.waitFor("never"));
    const cancelling = anyWorkflow("cancelling", async (ctx) => {
      const loser = new AbortController();
      const steps = {
        call: ctx.complete("call", 'slow\n#sim {"latencyMs": 60000}', { signal: loser.signal }),
        local: ctx.run("local", (signal) => {
          signal.addEventListener("abort", () => aborted.push("local"));
          return new Promise(() => {});
        }),
        child: ctx.child("child", child, {}, { signal: loser.signal }),
        sleep: ctx.sleep("sleep", 600_000),
        wait: ctx.waitFor("wait", { signal: loser.signal }),
      };
      await ctx.waitFor("go");
      loser.abort();
      const known = [ctx.cancel("local"), ctx.cancel("sleep"), ctx.cancel("go"), ctx.cancel("none")];
      const ends = await Promise.allSettled(Object.values(steps));
      await ctx.sleep(1);
      return [
        known,
        ends.map((end) => (end.status === "rejected" ? (end.reason as GlueError).code : end.status)),
      ];
    });
    await workReplaying(cancelling, child);
    const run = await runs.start(cancelling, {});
    await waitFor("the call", () => site.simulator.stats().inFlight === 1);
    await waitFor("the work", async () => (await stateOf(run)).local === "running");
    await run.signal("go");
    const cancelled = Array.from({ length: 5 }, () => "cancelled");
    expect(await run.result()).toEqual([[true, true, false, false], cancelled]);
    expect(aborted).toContain("local");
    await waitFor("the call's end", () => site.simulator.stats().inFlight === 0);
    const job = (await run.steps()).find(({ kind }) => kind === "child")?.job ?? "";
    expect((await runs.open(job).status()).state).toBe("cancelled");
  });
});

describe("a cancelled run", () => {
  const cleaning = (done: string[], begun = () => {}) =>
    anyWorkflow("cleaning", async (ctx) => {
      ctx.onCancel(() => done.push("first"));
      ctx.onCancel(() => {
        throw new Error("told to operators");
      });
      ctx.onCancel(() => new Promise(() => {}), { timeoutMs: 5 });
      try {
        begun();
        await ctx.run("step", () => 1);
        await Promise.race([ctx.waitFor("never"), ctx.run("hang", () => new Promise(() => {}))]);
      } catch (error) {
        done.push((error as GlueError).code);
        for (const ask of [ctx.sleep(1), say(ctx, "more"), ctx.waitFor("x")])
          await ask.catch((fault: GlueError) => done.push(fault.code));
      } finally {
        await ctx.run("refund", () => done.push("refund"));
      }
    });
  const EXPECTED = ["cancelled", "cancelled", "cancelled", "cancelled", "refund", "first"];

  test("runs its finally blocks and handlers, at work or without a worker at the time", async () => {
    const { runs, host } = await workflowSite();
    const done: string[] = [];
    const first = await host([cleaning(done)]);
    const run = await runs.start(cleaning(done), {});
    await waitFor("the work", async () => (await stateOf(run)).hang === "running");
    expect(await run.cancel()).toBe(true);
    expect((await run.status()).state).toBe("cancelled");
    await waitFor("the end", () => done.length === EXPECTED.length);
    expect(done).toEqual(EXPECTED);
    const asleep = await runs.start(cleaning(done), {});
    await waitFor("the work", async () => (await stateOf(asleep)).hang === "running");
    await first.close({ drainMs: 0 });
    done.length = 0;
    await asleep.cancel();
    await host([cleaning(done)]);
    await waitFor("the end", () => done.length === EXPECTED.length);
    expect(done).toEqual(EXPECTED);
  });

  test("that never began is not begun, and one that takes each failure for a passing one ends", async () => {
    const { runs, host } = await workflowSite();
    let begun = 0;
    const [fresh, last] = [cleaning([], () => ++begun), anyWorkflow("last", async () => "last")];
    const stubborn = anyWorkflow("stubborn", async (ctx) => {
      for (;;) await ctx.sleep(600_000).catch(() => {});
    });
    const never = await runs.start(fresh, {});
    await never.cancel();
    await host([fresh, stubborn, last]);
    const run = await runs.start(stubborn, {});
    await waitFor("its sleep", async () => (await run.steps()).length === 1);
    await run.cancel();
    expect(await (await runs.start(last, {})).result()).toBe("last");
    expect(begun).toBe(0);
  });
});
