import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, flow, InputError, JobCancelledError, task, WorkflowError } from "../../src/index.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { chain } from "../support/test-workflows.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

describe("a run", () => {
  test("of three completions ends, each paid for once, in its own steps", async () => {
    const { site, runs, work } = await workflowSite();
    await work(chain);
    const run = await runs.start(chain, { topic: "prime", steps: 3 });
    expect(await run.result()).toHaveLength(3);
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
    const results = await Promise.all(handles.map((handle) => handle.result()));
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
    expect(await waiting.result()).toHaveLength(1);
  });

  test("ends at its deadline, whatever it waits for", async () => {
    const { runs, work } = await workflowSite();
    const patient = anyWorkflow("patient", (ctx) => ctx.waitFor("never"));
    await work(patient);
    const run = await runs.start(patient, {}, { deadlineMs: 300 });
    await expect(run.result()).rejects.toMatchObject({ code: "deadline_exceeded" });
    expect((await run.status()).state).toBe("failed");
  });

  test("ends at its deadline though no worker has its workflow, or its job is gone", async () => {
    const { runs, work, queueOf } = await workflowSite();
    const parent = anyWorkflow("parent", (ctx) => ctx.child("child", chain, { topic: "a", steps: 1 }));
    const [unknown, removed] = await Promise.all(
      ["unknown", "removed"].map((runId) => runs.start(parent, {}, { runId, deadlineMs: 100 })),
    );
    await queueOf("parent").remove("removed");
    await work();
    for (const run of [unknown, removed]) {
      await expect(run?.result()).rejects.toMatchObject({ code: "deadline_exceeded" });
      expect((await run?.status())?.state).toBe("failed");
    }
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
    const failure = (await runs.start(broken, {})).result();
    await expect(failure).rejects.toBeInstanceOf(WorkflowError);
    await expect(failure).rejects.toMatchObject({
      message: "no such thing",
      context: { errorName: "RangeError" },
    });
    await expect((await runs.start(wrong, {})).result()).rejects.toThrow("output of workflow");
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
    await expect(run.result()).rejects.toBeInstanceOf(JobCancelledError);
    await waitFor("the call's end", () => site.simulator.stats().inFlight === 0);
    const child = (await run.steps()).find(({ kind }) => kind === "child")?.job ?? "";
    expect((await runs.open(child).status()).state).toBe("cancelled");
    expect(await run.cancel()).toBe(false);
    await expect(runs.open("nobody").cancel()).rejects.toMatchObject({
      code: "job_lost",
      message: "no run nobody",
    });
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

  test("a worker that stops gives its runs back, and what it had under way is done again", async () => {
    const { runs, host } = await workflowSite();
    let tries = 0;
    const local = anyWorkflow("local", async (ctx) => {
      await ctx.run("before", () => "done");
      return ctx.run("work", (signal) =>
        ++tries === 1 ? once(signal, "abort").then(() => "broken off") : "done",
      );
    });
    const first = await host([local]);
    const run = await runs.start(local, {});
    await waitFor("the work", () => tries === 1);
    await first.close({ drainMs: 0 });
    await host([local]);
    expect(await run.result()).toBe("done");
    expect(tries).toBe(2);
  });

  test("a run whose job was removed says so, and goes on when it is started again", async () => {
    const { runs, work, queueOf } = await workflowSite();
    const paused = anyWorkflow("paused", (ctx) => ctx.waitFor("go"));
    await work(paused);
    const run = await runs.start(paused, {}, { runId: "removed" });
    await waitFor("the wait", async () => (await run.steps()).length === 1);
    await waitFor("its removal", async () => (await queueOf("paused").remove("removed")) === 1);
    expect((await run.status()).waitsFor[0]).toContain("removed");
    await runs.start(paused, {}, { runId: "removed" });
    await run.signal("go", "gone");
    expect(await run.result()).toBe("gone");
  });

  test("a run that nobody has taken yet is cancelled too", async () => {
    const { site, runs, work } = await workflowSite();
    const run = await runs.start(chain, { topic: "a", steps: 2 });
    expect(await run.cancel()).toBe(true);
    await work(chain);
    const next = await runs.start(chain, { topic: "b", steps: 1 });
    await next.result();
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
    expect(await run.result()).toBe("said title of said text of said plot");
    const again = await run.fork({ fromStep: "title" });
    expect(await again.result()).toBe("said title of said text of said plot");
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
    expect(await other.result()).toBe("said title of said text of a whale");
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
    expect(await run.result()).toBe(12);
    expect((await run.steps()).map(({ step }) => step).sort()).toEqual(["double", "double#2", "double#3"]);
    expect(calls).toBe(3);
    expect(await double(4)).toBe(8);
  });
});
