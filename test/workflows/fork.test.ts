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

test("a fork is known by its changes, and no other run answers to its id", async () => {
  const { runs, host } = await workflowSite();
  const steps = anyWorkflow("steps", async (ctx) => {
    const a = await ctx.run("a", () => "a");
    return ctx.run("b", () => `${a}b`);
  });
  await host([steps], 0);
  const run = await runs.start(steps, {}, { runId: "origin" });
  await run.result();
  const fork = (runId: string, a: string, fromStep = "b") =>
    run.fork({ fromStep, runId, changes: fromStep === "b" ? { results: { a } } : {} });
  expect(await (await fork("one", "x")).result()).toBe("xb");
  expect(await (await fork("one", "x")).result()).toBe("xb");
  const conflict = { code: "run_conflict" };
  await expect(fork("one", "y")).rejects.toMatchObject(conflict);
  await expect(fork("one", "x", "a")).rejects.toMatchObject(conflict);
  await expect(fork("origin", "x")).rejects.toMatchObject(conflict);
  await expect(runs.start(steps, {}, { runId: "one" })).rejects.toMatchObject(conflict);
});

test("a wait that is asked anew takes no signal that the origin had", async () => {
  const { runs, host } = await workflowSite();
  const early = await runs.start(reviews, {});
  // The third one nobody waits for.
  for (const n of [1, 2, 3]) await early.signal("review", { n });
  await host([reviews], 0);
  expect(await early.result()).toEqual([{ n: 1 }, { n: 2 }]);
  for (const [fromStep, kept] of [
    ["review", []],
    ["review#2", [{ n: 1 }]],
  ] as const) {
    const fork = await early.fork({ fromStep });
    const fresh = [{ n: 8 }, { n: 9 }].slice(kept.length);
    for (const data of fresh) await fork.signal("review", data);
    expect(await fork.result()).toEqual([...kept, ...fresh]);
  }
});

test("a fork draws what its origin drew up to its first step, and what is its own from there on, in replay too", async () => {
  const { runs, host } = await workflowSite();
  const drawing = anyWorkflow("drawing", async (ctx) => {
    const drawn: unknown[] = [];
    for (const name of ["a", "b", "c"]) {
      drawn.push(ctx.uuid(), ctx.random());
      await ctx.run(name, () => 1);
      await ctx.sleep(1);
    }
    return [...drawn, ctx.uuid(), ctx.random()];
  });
  await host([drawing], 0);
  const run = await runs.start(drawing, {});
  const own = (await run.result()) as unknown[];
  const fork = await run.fork({ fromStep: "b" });
  const forked = (await fork.result()) as unknown[];
  expect(forked.slice(0, 4)).toEqual(own.slice(0, 4));
  const again = (await (await fork.fork({ fromStep: "c" })).result()) as unknown[];
  expect(again.slice(0, 6)).toEqual(forked.slice(0, 6));
  const earlier = (await (await fork.fork({ fromStep: "a" })).result()) as unknown[];
  expect(earlier.slice(0, 2)).toEqual(own.slice(0, 2));
  const all = [own, forked, again, earlier].flatMap((each, n) => each.slice([0, 4, 6, 2][n]));
  expect(new Set(all).size).toBe(all.length);
});
