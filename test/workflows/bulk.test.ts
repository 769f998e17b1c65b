import { expect, test } from "vitest";
import { anyWorkflow } from "../support/any-workflow.ts";
import { workflowSite } from "../support/workflow-site.ts";

const waiting = anyWorkflow("waiting", (ctx) => ctx.waitFor("go"));

test("runs that fit are cancelled together: counted first, told one by one what failed, the same call again goes on", async () => {
  const { runs, host } = await workflowSite();
  const start = (n: number) =>
    runs.start(waiting, {}, { runId: `run-${n}`, tags: [n % 3 === 0 ? "team=a" : "team=b"] });
  await Promise.all(Array.from({ length: 30 }, (_, n) => start(n)));
  const dry = await runs.cancelRuns({ tag: "team=b" }, { dryRun: true });
  expect(dry).toMatchObject({ matched: 20, changed: 0, unchanged: 0, failed: 0, isComplete: true });
  expect(dry.examples).toHaveLength(10);
  expect(await runs.list({ state: "running" })).toHaveLength(30);

  // Broken off after some of them.
  const stop = new AbortController();
  const cut = runs.cancelRuns({ tag: "team=b" }, { concurrency: 1, signal: stop.signal });
  while ((await runs.list({ state: "cancelled" })).length < 2);
  stop.abort();
  const first = await cut;
  const rest = await runs.cancelRuns({ tag: "team=b" });
  expect(first.changed + rest.changed).toBe(20);
  expect(first.isComplete).toBe(rest.matched === 0);
  expect(await runs.list({ state: "cancelled" })).toHaveLength(20);
  expect(await runs.cancelRuns({ tag: "team=b" })).toMatchObject({ matched: 0, isComplete: true });

  await host([waiting]);
  const { dedupeId, ...signalled } = await runs.signalRuns({ workflow: "waiting" }, "go", 7);
  expect(signalled).toMatchObject({ matched: 10, changed: 10, failed: 0 });
  expect(await runs.open("run-3").result()).toBe(7);
  expect(dedupeId).toMatch(/^[\da-f-]{36}$/);

  for (const [selection, says] of [
    [{}, "empty"],
    [{ state: undefined, tag: undefined }, "empty"],
    [{ state: "failed" as const }, "only running runs"],
    [{ runId: "run-1" } as object, "wrong"],
  ] as const)
    await expect(runs.cancelRuns(selection), says).rejects.toThrow(says);
  await expect(runs.cancelRuns({ tag: "a" }, { concurrency: 0 })).rejects.toThrow("concurrency");
});

test("a signal to many comes once to each, also when the call is made again", async () => {
  const { runs, host } = await workflowSite();
  const twice = anyWorkflow("twice", async (ctx) => [await ctx.waitFor("go"), await ctx.waitFor("go")]);
  await runs.start(twice, {}, { runId: "run-a" });
  const signal = (data: number, dedupeId: string) =>
    runs.signalRuns({ workflow: "twice" }, "go", data, { dedupeId });
  await signal(1, "first");
  await signal(1, "first");
  await host([twice]);
  await signal(2, "second");
  expect(await runs.open("run-a").result()).toEqual([1, 2]);
});

test("failed runs are retried together; a child run's failure says whom to retry", async () => {
  const { runs, host } = await workflowSite();
  let isMended = false;
  const flaky = anyWorkflow("flaky", (ctx) =>
    ctx.run("work", () => {
      if (!isMended) throw new Error("not yet");
      return "done";
    }),
  );
  const parent = anyWorkflow("parent", (ctx) => ctx.child("flaky", flaky, {}));
  await host([flaky, parent]);
  const started = [
    await runs.start(flaky, {}, { runId: "run-a" }),
    await runs.start(flaky, {}, { runId: "run-b" }),
    await runs.start(parent, {}, { runId: "run-p" }),
  ];
  await Promise.allSettled(started.map((run) => run.result()));
  isMended = true;
  const report = await runs.retryRuns({ workflow: "flaky" });
  expect(report).toMatchObject({ matched: 3, changed: 2, failed: 1 });
  expect(report.failures[0]).toMatchObject({
    code: "run_not_failed",
    message: expect.stringContaining("run-p"),
  });
  expect(await runs.retryRuns({ workflow: "parent" })).toMatchObject({ changed: 1, failed: 0 });
  expect(await Promise.all(started.map((run) => run.result()))).toEqual(["done", "done", "done"]);
});
