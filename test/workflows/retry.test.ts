import { expect, test } from "vitest";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

test("a failed run goes on in place from its failed step, in a child run too, and pays for nothing again", async () => {
  const { runs, site, serveModels, host } = await workflowSite({
    faults: { script: [{ match: "shaky", fault: "400", times: 2 }] },
  });
  await serveModels();
  let works = 0;
  const child = anyWorkflow("child", async (ctx) => [await say(ctx, "before"), await say(ctx, "shaky")]);
  const parent = anyWorkflow("parent", async (ctx) => {
    const first = await say(ctx, "first");
    const caught = await ctx.run("caught", () => Promise.reject(new Error("known"))).catch(() => "caught");
    const [inner, beside] = await Promise.all([
      ctx.child("child", child, {}),
      ctx.waitFor<string>("go").then((go) => say(ctx, "beside", `beside ${go}`)),
    ]);
    const own = await ctx.run("own", () => (++works > 1 ? works : Promise.reject(new RangeError("not yet"))));
    return [first, caught, inner, beside, own];
  });
  await host([parent, child], 0);
  const run = await runs.start(parent, {}, { deadlineMs: 120_000 });
  const deadline = (await run.status()).deadlineAt;
  for (const _ of [1, 2]) {
    await expect(run.result()).rejects.toMatchObject({ code: "invalid_request" });
    await run.retry();
  }
  await run.signal("go", "it");
  await expect(run.result()).rejects.toMatchObject({ name: "RangeError" });
  await run.retry();
  const inner = ["said before", "said shaky"];
  expect(await run.result()).toEqual(["said first", "caught", inner, "said beside it", 2]);
  expect((await run.status()).deadlineAt.getTime()).toBeGreaterThan(deadline.getTime());
  // Two calls were refused; no other was made twice.
  expect(site.simulator.journal.entries().filter(({ status }) => status === 200)).toHaveLength(4);
  await expect(run.retry()).rejects.toMatchObject({
    code: "run_not_failed",
    message: expect.stringContaining("succeeded"),
  });
  const childId = (await run.steps()).find(({ kind }) => kind === "child")?.job ?? "";
  await expect(runs.open(childId).retry()).rejects.toMatchObject({ code: "run_not_failed" });
  await expect(runs.open("nobody").retry()).rejects.toMatchObject({ code: "job_lost" });
});

test("what failed by its deadline, by its function or while it waited goes on too", async () => {
  const { runs, host } = await workflowSite();
  let calls = 0;
  const late = anyWorkflow("late", async (ctx) => {
    await ctx.run("step", () => ++calls);
    if (calls === 1 && (await ctx.waitFor("never", { timeoutMs: 1 }))) return 0;
    return ctx.waitFor("go");
  });
  const thrower = anyWorkflow("thrower", async (ctx) => {
    await ctx.run("step", () => 1);
    calls += 1;
    if (calls < 5) throw new Error(`call ${calls}`);
    return "mended";
  });
  await host([late, thrower], 0);
  const run = await runs.start(late, {}, { deadlineMs: 60_000 });
  await expect(run.result()).rejects.toMatchObject({ code: "signal_timeout" });
  calls = 2;
  await run.retry();
  await waitFor("the wait", async () => (await run.steps()).some(({ step }) => step === "go"));
  await run.signal("go", "gone");
  expect(await run.result()).toBe("gone");
  calls = 3;
  const thrown = await runs.start(thrower, {});
  await expect(thrown.result()).rejects.toThrow("call 4");
  await Promise.all([thrown.retry(), thrown.retry()].map((retried) => retried.catch(() => {})));
  expect(await thrown.result()).toBe("mended");
});
