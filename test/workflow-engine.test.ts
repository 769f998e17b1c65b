import { describe, expect, test } from "vitest";
import { z } from "zod";
import {
  defineWorkflow,
  flow,
  type GlueError,
  InputError,
  InvalidRequestError,
  JobCancelledError,
  task,
  type WorkflowContext,
  WorkflowError,
} from "../src/index.ts";
import { chain } from "./support/test-workflows.ts";
import { waitFor } from "./support/wait-for.ts";
import { workflowSite } from "./support/workflow-site.ts";

const WAIT = { timeoutMs: 15_000 };

/** A workflow of any input and output. */
function anyWorkflow<T>(
  name: string,
  run: (ctx: WorkflowContext, input: Record<string, number>) => Promise<T>,
) {
  return defineWorkflow({
    name,
    input: z.record(z.string(), z.number()),
    output: z.any() as z.ZodType<T>,
    run,
  });
}

const say = (ctx: WorkflowContext, name: string, text = name) =>
  ctx
    .complete(name, `${text}\n#sim {"reply": ${JSON.stringify(`said ${text}`)}}`)
    .then((r) => r.finalResponse);

describe("a run", () => {
  test("of three completions ends, each paid for once, in its own steps", async () => {
    const { site, runs, work } = await workflowSite();
    await work(chain);
    const run = await runs.start(chain, { topic: "prime", steps: 3 });
    expect(await run.result(WAIT)).toHaveLength(3);
    expect(site.paidCalls().size).toBe(3);
    expect(site.repeatedCalls()).toBe(0);
    const status = await run.status();
    expect(status).toMatchObject({ state: "succeeded", workflow: "chain", version: 1, waitsFor: [] });
    const steps = await run.steps();
    expect(steps.map(({ step, state }) => [step, state])).toEqual([
      ["ask", "succeeded"],
      ["ask#2", "succeeded"],
      ["ask#3", "succeeded"],
    ]);
    expect(status.tokensUsed.total).toBe(steps.reduce((sum, { tokensUsed }) => sum + tokensUsed.total, 0));
    expect(status.tokensUsed.total).toBeGreaterThan(0);
    expect((await runs.list()).map(({ id }) => id)).toEqual([run.id]);
  });

  test("is refused with the name of the field that is wrong, before Redis is asked", async () => {
    const { runs } = await workflowSite();
    const wrong = { topic: 7 } as unknown as { topic: string; steps: number };
    await expect(runs.start(chain, wrong)).rejects.toThrow(/input of workflow "chain" is wrong at topic/);
    await expect(runs.start(chain, { topic: "a", steps: 1 }, { runId: "12" })).rejects.toThrow(InputError);
    await expect(runs.start(chain, { topic: "a", steps: 1 }, { priority: -1 })).rejects.toThrow("priority");
    await expect(runs.start("nobody", {})).rejects.toThrow('no workflow "nobody"');
  });

  test("of the same id is one run; with another input it is an error", async () => {
    const { site, runs, work } = await workflowSite();
    await work(chain);
    const input = { topic: "twice", steps: 2 };
    const handles = await Promise.all([1, 2, 3].map(() => runs.start(chain, input, { runId: "mine" })));
    const results = await Promise.all(handles.map((handle) => handle.result(WAIT)));
    expect(results[1]).toEqual(results[0]);
    expect((await runs.start(chain, input, { runId: "mine" })).id).toBe("mine");
    expect(site.simulator.journal.entries()).toHaveLength(2);
    const other = runs.start(chain, { ...input, steps: 3 }, { runId: "mine" });
    await expect(other).rejects.toMatchObject({ code: "run_conflict" });
  });

  test("says why it waits: no worker has its workflow, or only an older version", async () => {
    const { runs, host, work } = await workflowSite();
    const newer = defineWorkflow({ ...chain, version: 2 });
    const run = await runs.start(newer, { topic: "a", steps: 1 });
    expect((await run.status()).waitsFor).toEqual(['a worker with workflow "chain"']);
    await host([anyWorkflow("other", async () => 1)]);
    const waiting = await runs.start(chain, { topic: "b", steps: 1 });
    await work(chain);
    await waitFor("the reason", async () => (await run.status()).waitsFor[0]?.includes("version 2"));
    // The host without it put the second one back; the worker that has it takes it after 5 s at most.
    expect(await waiting.result(WAIT)).toHaveLength(1);
  });

  test("ends at its deadline, whatever it waits for", async () => {
    const { runs, work } = await workflowSite();
    const patient = anyWorkflow("patient", (ctx) => ctx.waitFor("never"));
    await work(patient);
    const run = await runs.start(patient, {}, { deadlineMs: 300 });
    await expect(run.result(WAIT)).rejects.toMatchObject({ code: "deadline_exceeded" });
    expect((await run.status()).state).toBe("failed");
  });

  test("fails with what its code threw, and with an output that its schema refuses", async () => {
    const { runs, work } = await workflowSite();
    const broken = anyWorkflow("broken", async () => {
      throw new RangeError("no such thing");
    });
    const wrong = defineWorkflow({
      name: "wrong",
      input: z.object({}),
      output: z.object({ n: z.number() }),
      run: async () => ({ n: "x" }) as unknown as { n: number },
    });
    await work(broken, wrong);
    const failure = (await runs.start(broken, {})).result(WAIT);
    await expect(failure).rejects.toBeInstanceOf(WorkflowError);
    await expect(failure).rejects.toMatchObject({
      message: "no such thing",
      context: { errorName: "RangeError" },
    });
    await expect((await runs.start(wrong, {})).result(WAIT)).rejects.toThrow("output of workflow");
  });
});

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
    expect(await run.result(WAIT)).toEqual([["said a", "said b"], "said fast", "fulfilled", true, true]);
    // The loser of the race is not paid for once nobody waits for it.
    await waitFor("the loser's end", () => site.simulator.stats().inFlight === 0, 4000);
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
    expect(await run.result(WAIT)).toEqual([1, "done", true, "try 1", true, context]);
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
    expect(await (await runs.start(beside, {})).result(WAIT)).toBe("released");
  });

  test("child workflows bring their output, their error and their cost", async () => {
    const { site, runs, workReplaying } = await workflowSite();
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
    expect(await run.result(WAIT)).toEqual(["said child 1!", "said child 2!", "negative"]);
    expect(site.repeatedCalls()).toBe(0);
    const [first] = await run.steps();
    expect(first).toMatchObject({ step: "sub", kind: "child", subject: "child" });
    const childRun = await runs.open(first?.job ?? "").status();
    expect((await run.status()).tokensUsed.total).toBe(2 * childRun.tokensUsed.total);
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
    expect(await run.result(WAIT)).toEqual({ left: "said draft said again", right: "said draft" });
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
    await workReplaying(approval);
    await waitFor("the wait for the form", async () => (await run.steps()).some((s) => s.step === "form"));
    expect((await run.status()).state).toBe("running");
    await run.signal("form", { ok: "yes" });
    await run.signal("form", { ok: true });
    expect(await run.result(WAIT)).toEqual([
      "bird",
      "signal_timeout",
      expect.stringMatching(/wrong at ok/),
      { ok: true },
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
    const result = await run.result(WAIT);
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
    expect(await run.result(WAIT)).toBe("x".repeat(50_000) + "y".repeat(50_000));
  });

  test("1,200 side by side and 600 one after the other both end", async () => {
    const { site, runs, work } = await workflowSite({ latencyMs: 0 });
    const wide = anyWorkflow("wide", async (ctx, { n = 0 }) => {
      const answers = await Promise.all(
        Array.from({ length: n }, (_, i) => ctx.complete("leaf", `leaf ${i}`)),
      );
      for (let i = 0; i < n / 2; i++) await ctx.run("tick", () => i);
      return answers.length;
    });
    await work(wide);
    expect(await (await runs.start(wide, { n: 1200 })).result({ timeoutMs: 50_000 })).toBe(1200);
    expect(site.paidCalls().size).toBe(1200);
    expect(site.repeatedCalls()).toBe(0);
  });
});

describe("from outside", () => {
  test("a cancelled run ends its steps, in flight too, its children and its waits", async () => {
    const { site, runs, work } = await workflowSite();
    const slow = anyWorkflow("slow", (ctx) => ctx.complete("slow", 'slow\n#sim {"latencyMs": 20000}'));
    const parent = anyWorkflow("parent", (ctx) => Promise.all([ctx.child("c", slow, {}), ctx.waitFor("x")]));
    await work(parent, slow);
    const run = await runs.start(parent, {});
    await waitFor("the call", () => site.simulator.stats().inFlight === 1);
    expect(await run.cancel()).toBe(true);
    await expect(run.result(WAIT)).rejects.toBeInstanceOf(JobCancelledError);
    await waitFor("the call's end", () => site.simulator.stats().inFlight === 0);
    const child = (await run.steps()).find(({ kind }) => kind === "child")?.job ?? "";
    expect((await runs.open(child).status()).state).toBe("cancelled");
    expect(await run.cancel()).toBe(true);
    await expect(runs.open("nobody").cancel()).rejects.toMatchObject({ code: "job_lost" });
  });

  test("a cancelled run's local work is told to stop", async () => {
    const { runs, work } = await workflowSite();
    const started = Promise.withResolvers<void>();
    const stopped = Promise.withResolvers<void>();
    const local = anyWorkflow("local", (ctx) =>
      ctx.run("endless", (signal) => {
        started.resolve();
        signal.addEventListener("abort", () => stopped.resolve());
        return new Promise(() => {});
      }),
    );
    await work(local);
    const run = await runs.start(local, {});
    await started.promise;
    await run.cancel();
    await stopped.promise;
    expect((await run.status()).state).toBe("cancelled");
  });

  test("a run that nobody has taken yet is cancelled too", async () => {
    const { site, runs, work } = await workflowSite();
    const run = await runs.start(chain, { topic: "a", steps: 2 });
    expect(await run.cancel()).toBe(true);
    await work(chain);
    const next = await runs.start(chain, { topic: "b", steps: 1 });
    await next.result(WAIT);
    expect([...site.paidCalls().keys()]).toEqual(["b 0"]);
  });

  test("a fork takes over what came before a step, and runs the rest with other results", async () => {
    const { site, runs, work } = await workflowSite();
    const story = anyWorkflow("story", async (ctx) => {
      const plot = await say(ctx, "plot");
      const text = await say(ctx, "text", `text of ${plot}`);
      return say(ctx, "title", `title of ${text}`);
    });
    await work(story);
    const run = await runs.start(story, {});
    expect(await run.result(WAIT)).toBe("said title of said text of said plot");
    const again = await run.fork({ fromStep: "title" });
    expect(await again.result(WAIT)).toBe("said title of said text of said plot");
    // Only the last step was paid for again, as a job of the fork's own.
    expect(site.simulator.journal.entries()).toHaveLength(4);
    const other = await run.fork({
      fromStep: "text",
      changes: {
        results: {
          plot: { ...(await runs.open<object>(run.id).result()), finalResponse: "a whale" } as never,
        },
      },
    });
    expect(await other.result(WAIT)).toBe("said title of said text of a whale");
    await expect(run.fork({ fromStep: "none" })).rejects.toThrow('no step "none"');
  });

  test("task and flow are recorded as steps, and plain functions elsewhere", async () => {
    const { runs, work } = await workflowSite();
    let calls = 0;
    const double = task("double", async (n: number) => {
      calls += 1;
      return 2 * n;
    });
    const sum = flow("sum", async (numbers: number[]) => {
      const doubled = await Promise.all(numbers.map((n) => double(n)));
      return doubled.reduce((a, b) => a + b, 0);
    });
    await work(sum);
    const run = await runs.start(sum, [1, 2, 3]);
    expect(await run.result(WAIT)).toBe(12);
    expect((await run.steps()).map(({ step }) => step).sort()).toEqual(["double", "double#2", "double#3"]);
    expect(calls).toBe(3);
    expect(await double(4)).toBe(8);
  });
});
