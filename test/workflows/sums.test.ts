import { expect, test } from "vitest";
import { z } from "zod";
import { anyWorkflow } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

test("what a failed step has used counts for the run", async () => {
  const { runs, workReplaying } = await workflowSite();
  const failing = anyWorkflow("failing", async (ctx) => {
    const schema = z.object({ a: z.number() });
    return ctx.structured("s", 'x\n#sim {"reply": "not json"}', { schema }).catch(() => "caught");
  });
  await workReplaying(failing);
  const run = await runs.start(failing, {});
  expect(await run.result()).toBe("caught");
  const [step] = await run.steps();
  expect(step).toMatchObject({ state: "failed" });
  const { tokensUsed, costUsd, unpriced } = await run.status();
  expect(tokensUsed.total).toBeGreaterThan(0);
  expect(step?.tokensUsed).toEqual(tokensUsed);
  expect(step?.costUsd === null ? unpriced : costUsd).toBeGreaterThan(0);
});

const asking = anyWorkflow("asking", async (ctx) => {
  await ctx.complete("ask", 'x\n#sim {"reply": "A"}');
  return ctx.waitFor("end");
});

test("what a cancelled child has used counts for its parent", async () => {
  const { runs, workReplaying } = await workflowSite();
  const parent = anyWorkflow("parent", async (ctx) => ctx.child("c", asking, {}).catch(() => "caught"));
  await workReplaying(asking, parent);
  const run = await runs.start(parent, {});
  const usedBy = async (id: string) => (await runs.open(id).status()).tokensUsed.total;
  const childId = async () => (await run.steps())[0]?.job ?? "";
  await waitFor("the child", async () => (await childId()) !== "");
  const child = runs.open(await childId());
  await waitFor("its wait", async () => (await child.steps()).some(({ kind }) => kind === "signal"));
  await waitFor("its sums", async () => (await usedBy(child.id)) > 0);
  await child.cancel();
  expect(await run.result()).toBe("caught");
  expect(await usedBy(run.id)).toBe(await usedBy(child.id));
});

test("a fork does not count the steps that it took over, and shows what they used", async () => {
  const { runs, workReplaying } = await workflowSite();
  await workReplaying(asking);
  const run = await runs.start(asking, {});
  await waitFor("its wait", async () => (await run.steps()).length === 2);
  await run.signal("end", 1);
  await run.result();
  const fork = await run.fork({ fromStep: "end" });
  await fork.signal("end", 2);
  await fork.result();
  expect((await run.status()).tokensUsed.total).toBeGreaterThan(0);
  expect(await fork.status()).toMatchObject({ tokensUsed: { total: 0 }, costUsd: 0, unpriced: 0 });
  const [step] = await fork.steps();
  expect(step?.tokensUsed).toEqual((await run.status()).tokensUsed);
});
