import { describe, expect, test } from "vitest";
import { z } from "zod";
import { type GlueError, InvalidRequestError, WorkflowError } from "../../src/index.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { sizeOf } from "../support/sample.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

describe("steps", () => {
  test("side by side, raced and settled bring what plain promises would, in replay too", async () => {
    const { site, runs, workReplaying } = await workflowSite({
      faults: { script: [{ match: "bad", fault: "400" }] },
    });
    const plain = anyWorkflow("plain", async (ctx) => {
      const both = await Promise.all([say(ctx, "a"), say(ctx, "b")]);
      const slow = ctx.complete("slow", 'slow\n#sim {"latencyMs": 5000}');
      const first = await Promise.race([slow.then(() => "slow"), say(ctx, "fast")]);
      const settled = await Promise.allSettled([say(ctx, "c"), ctx.complete("bad", "bad")]);
      const refused = settled[1]?.status === "rejected" ? settled[1].reason : undefined;
      try {
        await ctx.complete("worse", "bad again");
      } catch (error) {
        return [
          both,
          first,
          settled[0]?.status,
          refused instanceof InvalidRequestError,
          error instanceof InvalidRequestError,
        ];
      }
      return [];
    });
    await workReplaying(plain);
    const run = await runs.start(plain, {});
    expect(await run.result()).toEqual([["said a", "said b"], "said fast", "fulfilled", true, true]);
    // The loser of the race is not paid for once nobody waits for it.
    await waitFor("the loser's end", () => site.simulator.stats().inFlight === 0);
    expect(site.repeatedCalls()).toBe(0);
  });

  test("local work is done once, tried again as its policy says, and keeps its error's text", async () => {
    const { runs, workReplaying } = await workflowSite();
    const calls = { once: 0, flaky: 0, hopeless: 0 };
    const local = anyWorkflow("local", async (ctx) => {
      const once = await ctx.run("once", () => ++calls.once);
      const retry = { maxAttempts: 3, minWaitMs: 1 };
      const flaky = await ctx.run(
        "flaky",
        () => (++calls.flaky < 3 ? Promise.reject(new Error("not yet")) : "done"),
        { retry },
      );
      const nothing = await ctx.run("nothing", () => {});
      await say(ctx, "between");
      const fault = await ctx
        .run("hopeless", () => Promise.reject(new TypeError(`try ${++calls.hopeless}`)))
        .catch((e) => e);
      await say(ctx, "after");
      return [
        once,
        flaky,
        nothing === undefined,
        fault.message,
        fault instanceof WorkflowError,
        fault.context,
      ];
    });
    await workReplaying(local);
    const run = await runs.start(local, {});
    const context = { errorName: "TypeError", step: "hopeless" };
    expect(await run.result()).toEqual([1, "done", true, "try 1", true, context]);
    expect(calls).toEqual({ once: 1, flaky: 3, hopeless: 1 });
  });

  test("go on beside local work that takes its time", async () => {
    const { runs, work } = await workflowSite();
    const beside = anyWorkflow("beside", async (ctx) => {
      const release = Promise.withResolvers<string>();
      const three = async () => {
        for (const name of ["x", "y", "z"]) await say(ctx, name);
        release.resolve("released");
      };
      return Promise.all([ctx.run("long", () => release.promise), three()]).then(([text]) => text);
    });
    await work(beside);
    expect(await (await runs.start(beside, {})).result()).toBe("released");
  });

  test("child workflows bring their output, their error and their cost", async () => {
    const { site, runs, workReplaying, queueOf } = await workflowSite();
    const child = anyWorkflow("child", async (ctx, { n = 0 }) => {
      if (n < 0) throw new Error("negative");
      return `${await say(ctx, "child", `child ${n}`)}!`;
    });
    const parent = anyWorkflow("parent", async (ctx) => {
      const texts = await Promise.all([1, 2].map((n) => ctx.child("sub", child, { n })));
      const fault: Error = await ctx.child("sub", child, { n: -1 }).catch((error) => error);
      return [...texts, fault.message];
    });
    await workReplaying(parent, child);
    const run = await runs.start(parent, {}, { priority: 7 });
    expect(await run.result()).toEqual(["said child 1!", "said child 2!", "negative"]);
    expect(site.repeatedCalls()).toBe(0);
    const [first] = await run.steps();
    expect(first).toMatchObject({ step: "sub", kind: "child", subject: "child" });
    const [childStep] = await runs.open(first?.job ?? "").steps();
    const job = await queueOf(childStep?.subject ?? "").getJob(childStep?.job ?? "");
    expect(job?.opts.priority).toBe(7);
    const childRun = await runs.open(first?.job ?? "").status();
    expect((await run.status()).tokensUsed.total).toBe(2 * childRun.tokensUsed.total);
  });

  test("a child run goes on without its parent when it is abandoned, and only then", async () => {
    const { runs, host } = await workflowSite();
    const child = anyWorkflow("child", (ctx) => ctx.waitFor("go"));
    const parent = anyWorkflow("parent", async (ctx, { cancelled }) => {
      const parentClose = "abandon";
      const children = [ctx.child("kept", child, {}, { parentClose }), ctx.child("ended", child, {})];
      if (cancelled) await Promise.all(children);
      await ctx.waitFor("begun");
    });
    await host([parent, child], 0);
    for (const cancelled of [0, 1]) {
      const run = await runs.start(parent, { cancelled }, { deadlineMs: 60_000 });
      const children = await waitFor("the children", async () => {
        const asked = (await run.steps()).filter(({ kind }) => kind === "child");
        const begun = await Promise.all(
          asked.map(({ job }) =>
            runs
              .open(job ?? "")
              .steps()
              .catch(() => []),
          ),
        );
        return begun.length === 2 && begun.every((steps) => steps.length === 1) ? asked : undefined;
      });
      if (cancelled) await run.cancel();
      else await run.signal("begun");
      await run.result().catch(() => {});
      const [kept, ended] = children.map(({ job }) => runs.open(job ?? ""));
      await waitFor("the end of one", async () => (await ended?.status())?.state === "cancelled");
      await kept?.signal("go", "gone");
      expect(await kept?.result()).toBe("gone");
    }
  });

  test("branches name their steps and go on each for itself", async () => {
    const { runs, work } = await workflowSite();
    const branched = anyWorkflow("branched", (ctx) =>
      ctx.branches({
        left: async (left) => `${await say(left, "draft")} ${await say(left, "draft", "again")}`,
        right: (right) => say(right, "draft"),
      }),
    );
    await work(branched);
    const run = await runs.start(branched, {});
    expect(await run.result()).toEqual({ left: "said draft said again", right: "said draft" });
    const names = (await run.steps()).map(({ step }) => step).sort();
    expect(names).toEqual(["left/draft", "left/draft#2", "right/draft"]);
  });

  test("sleeps and waits cost nothing, and a signal may come before its wait", async () => {
    const { runs, workReplaying } = await workflowSite();
    const approval = anyWorkflow("approval", async (ctx) => {
      await ctx.sleep("nap", 50);
      const early = await ctx.waitFor<string>("early");
      const none = await ctx.waitFor("none", { timeoutMs: 50 }).catch((error: GlueError) => error.code);
      const schema = z.object({ ok: z.boolean() });
      const wrong = await ctx.waitFor("form", { schema }).catch((error: GlueError) => error.message);
      return [early, none, wrong, await ctx.waitFor("form", { schema })];
    });
    const run = await runs.start(approval, {});
    await run.signal("early", "bird");
    // Before its wait nobody knows what it has to fit.
    await run.signal("form", { ok: "yes" });
    await workReplaying(approval);
    await waitFor("the second wait", async () => (await run.steps()).some((s) => s.step === "form#2"));
    expect((await run.status()).state).toBe("running");
    await run.signal("form", { ok: true });
    expect(await run.result()).toEqual([
      "bird",
      "signal_timeout",
      expect.stringMatching(/wrong at ok/),
      { ok: true },
    ]);
    expect((await run.steps()).map(({ step, state }) => [step, state])).toEqual([
      ["nap", "succeeded"],
      ["early", "succeeded"],
      ["none", "failed"],
      ["form", "succeeded"],
      ["form#2", "succeeded"],
    ]);
    await expect(run.signal("form", {})).rejects.toMatchObject({ code: "run_over" });
  });

  test("time, chance, logs and metadata are the same in every replay", async () => {
    const { runs, workReplaying } = await workflowSite();
    const seen: unknown[] = [];
    const logged: unknown[] = [];
    const recorded = anyWorkflow("recorded", async (ctx) => {
      const drawn: unknown[] = [ctx.now(), ctx.random(), ctx.random(), ctx.uuid()];
      seen.push(drawn);
      ctx.metadata.set("stage", "first");
      logged.push(Object.keys(ctx.log).length);
      await say(ctx, "one");
      ctx.metadata.set("stage", "second");
      await ctx.sleep(1);
      return [...drawn, ctx.now() >= (drawn[0] as number)];
    });
    await workReplaying(recorded);
    const run = await runs.start(recorded, {});
    const result = await run.result();
    expect(seen.length).toBeGreaterThan(1);
    for (const drawn of seen) expect([...(drawn as unknown[]), true]).toEqual(result);
    expect(result[1]).not.toBe(result[2]);
    expect(result[3]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect((await run.status()).metadata).toEqual({ stage: "second" });
  });

  test("results over 16 KB are kept apart and come back whole", async () => {
    const { runs, workReplaying } = await workflowSite();
    const large = anyWorkflow("large", async (ctx) => {
      const text = await ctx.run("make", () => "x".repeat(50_000));
      await ctx.sleep(1);
      const data = await ctx.waitFor<string>("data");
      return text + data;
    });
    await workReplaying(large);
    const run = await runs.start(large, {});
    await run.signal("data", "y".repeat(50_000));
    expect(await run.result()).toBe("x".repeat(50_000) + "y".repeat(50_000));
  });

  test("many side by side and half as many one after the other both end", async () => {
    const steps = sizeOf(1200, 200);
    const { site, runs, work } = await workflowSite({ latencyMs: 0 });
    const wide = anyWorkflow("wide", async (ctx, { n = 0 }) => {
      const answers = await Promise.all(
        Array.from({ length: n }, (_, i) => ctx.complete("leaf", `leaf ${i}`)),
      );
      for (let i = 0; i < n / 2; i++) await ctx.run("tick", () => i);
      return answers.length;
    });
    await work(wide);
    expect(await (await runs.start(wide, { n: steps })).result()).toBe(steps);
    expect(site.paidCalls().size).toBe(steps);
    expect(site.repeatedCalls()).toBe(0);
  });
});
