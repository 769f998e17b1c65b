import { expect, test } from "vitest";
import { z } from "zod";
import { anyWorkflow } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

test("updates are answered in order by what the function holds, and answers stay, in replay too", async () => {
  const { runs, host } = await workflowSite();
  let charged = 0;
  const counter = anyWorkflow("counter", async (ctx, { n = 0 }) => {
    let count = n;
    await ctx.sleep(1);
    ctx.onUpdate("add", z.number().max(100), (more) => (count += more));
    ctx.onUpdate("charge", z.any(), async () => ctx.run("charge", () => ++charged));
    ctx.onUpdate("wrong", z.any(), () => Number.NaN);
    ctx.onUpdate("at", z.date(), (at) => new Date(at.getTime() + 1));
    await ctx.waitFor("end");
    return count;
  });
  const run = await runs.start(counter, { n: 1 });
  // Before there is a worker, let alone a handler.
  const early = run.update<number>("add", 1);
  const first = await host([counter], 0);
  expect(await early).toBe(2);
  expect(await Promise.all([1, 2, 3].map(() => run.update("add", 10, { updateId: "same" })))).toEqual([
    12, 12, 12,
  ]);
  expect(await run.update("charge")).toBe(1);
  await expect(run.update("add", 1000)).rejects.toThrow('update "add" is wrong');
  await expect(run.update("wrong")).rejects.toThrow("NaN");
  expect(await run.update("at", new Date(5))).toEqual(new Date(6));
  await first.close({ drainMs: 0 });
  await host([counter], 0);
  expect(await run.update("add", 10, { updateId: "same" })).toBe(12);
  expect(await run.update("add", 1)).toBe(13);
  const unheard = run.update("nobody").catch((error) => error.code);
  await waitFor("the wait", async () => (await run.steps()).some(({ step }) => step === "end"));
  await run.signal("end");
  expect([await run.result(), await unheard, charged]).toEqual([13, "run_over", 1]);
  await expect(run.update("add", 1)).rejects.toMatchObject({ code: "run_over" });
});
