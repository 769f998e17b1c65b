import { expect, test } from "vitest";
import { anyWorkflow } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const reviews = anyWorkflow("reviews", async (ctx) => {
  const first = await ctx.waitFor("review");
  const second = await ctx.waitFor("review");
  await ctx.run("end", () => 1);
  return [first, second];
});

test("a fork replaces what a signal brought, and leaves the other signals of its name to their waits", async () => {
  const { runs, host } = await workflowSite();
  const early = await runs.start(reviews, {});
  for (const data of [{ n: 1 }, { n: 2 }]) await early.signal("review", data);
  await host([reviews], 0);
  const late = await runs.start(reviews, {});
  for (const n of [1, 2]) {
    await waitFor("the wait", async () => (await late.steps()).length === n);
    await late.signal("review", { n });
  }
  for (const run of [early, late]) {
    expect(await run.result()).toEqual([{ n: 1 }, { n: 2 }]);
    const forkWith = (results: object) => run.fork({ fromStep: "end", changes: { results: { ...results } } });
    const first = await forkWith({ review: "other" });
    expect(await first.result()).toEqual(["other", { n: 2 }]);
    const second = await forkWith({ "review#2": "other" });
    expect(await second.result()).toEqual([{ n: 1 }, "other"]);
    expect((await second.steps()).map(({ state }) => state)).toEqual(["succeeded", "succeeded", "succeeded"]);
  }
});

test("a signal that came for an earlier wait after the fork's first step goes with the fork", async () => {
  const { runs, host } = await workflowSite();
  const sideBySide = anyWorkflow("sideBySide", async (ctx) => {
    const [go] = await Promise.all([
      ctx.waitFor("go"),
      ctx.run("a", () => 1).then(() => ctx.run("b", () => 2)),
    ]);
    return [go, await ctx.waitFor("again")];
  });
  await host([sideBySide], 0);
  const run = await runs.start(sideBySide, {});
  await waitFor("b", async () => (await run.steps()).some(({ step }) => step === "b"));
  await run.signal("go", "yes");
  await run.signal("again", "once");
  expect(await run.result()).toEqual(["yes", "once"]);
  const fork = await run.fork({ fromStep: "b" });
  // The second wait was asked for after the step: it waits again.
  await fork.signal("again", "twice");
  expect(await fork.result()).toEqual(["yes", "twice"]);
  const other = await run.fork({ fromStep: "b", changes: { results: { go: "no" } } });
  await other.signal("again", "twice");
  expect(await other.result()).toEqual(["no", "twice"]);
});

test("results of a step that had not ended are refused", async () => {
  const { runs, host } = await workflowSite();
  const open = anyWorkflow("open", async (ctx) =>
    Promise.race([ctx.waitFor("never"), ctx.run("a", () => 1).then(() => ctx.run("b", () => 2))]),
  );
  await host([open]);
  const run = await runs.start(open, {});
  expect(await run.result()).toBe(2);
  await expect(run.fork({ fromStep: "b", changes: { results: { never: 1 } } })).rejects.toThrow(
    'changes.results: step "never" had not ended',
  );
});
