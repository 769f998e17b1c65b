import { expect, test } from "vitest";
import { StepReader } from "../../src/cli/read-steps.ts";
import type { StepNode } from "../../src/cli/step-tree.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const inner = anyWorkflow("inner", async (ctx) => {
  await ctx.run("local", () => 1);
  return ctx.waitFor("go");
});
const outer = anyWorkflow("outer", (ctx) => ctx.child("inner", inner, {}));

function outline({ step, state, children }: StepNode): unknown[] {
  return [step, state, ...children.map(outline)];
}

test("child runs are read with their steps; what was under way at a run's end is cancelled", async () => {
  const { client, runs, host } = await workflowSite();
  await host([outer, inner]);
  const run = await runs.start(outer, {});
  const reader = new StepReader(client);
  const read = async () => (await reader.read(run.id)).map(outline);
  const open = await waitFor("the wait of the child run", async () => {
    const steps = await read();
    return JSON.stringify(steps).includes("go") ? steps : undefined;
  });
  expect(open).toEqual([["inner", "running", ["local", "succeeded"], ["go", "running"]]]);
  await run.cancel();
  expect(await read()).toEqual([["inner", "cancelled", ["local", "succeeded"], ["go", "cancelled"]]]);
  const [step] = await run.steps();
  expect(step?.finishedAt).toEqual((await run.status()).finishedAt);
});

test("a call that does not run says why", async () => {
  const { client, runs, host } = await workflowSite();
  const asks = anyWorkflow("asks", (ctx) => say(ctx, "ask"));
  await host([asks]);
  const run = await runs.start(asks, {});
  const reader = new StepReader(client);
  const reasons = await waitFor("the reason", async () => {
    const [step] = await reader.read(run.id);
    return step?.waitsFor.length ? step.waitsFor : undefined;
  });
  expect(reasons).toEqual([expect.stringContaining("worker")]);
  await run.cancel();
});
