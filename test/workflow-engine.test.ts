import { expect, test } from "vitest";
import { chain } from "./support/test-workflows.ts";
import { waitFor } from "./support/wait-for.ts";
import { workflowSite } from "./support/workflow-site.ts";

test("a workflow of three completions runs to its end, each paid for once", async () => {
  const { site, runs, work } = await workflowSite();
  await work(chain);
  const run = await runs.start(chain, { topic: "prime", steps: 3 });
  const answers = await run.result({ timeoutMs: 10_000 });
  expect(answers).toHaveLength(3);
  expect(site.paidCalls().size).toBe(3);
  expect(site.repeatedCalls()).toBe(0);
  const status = await run.status();
  expect(status).toMatchObject({ state: "succeeded", workflow: "chain", waitsFor: [] });
  expect(status.tokensUsed.total).toBeGreaterThan(0);
  expect((await run.steps()).map(({ step, state }) => [step, state])).toEqual([
    ["ask", "succeeded"],
    ["ask#2", "succeeded"],
    ["ask#3", "succeeded"],
  ]);
});

test("a workflow survives the SIGKILL of its worker, and finished steps are not run again", async () => {
  const { site, runs, spawnWorker } = await workflowSite({ latencyMs: 100 });
  const first = await spawnWorker("test-workflows.ts");
  const run = await runs.start(chain, { topic: "kill", steps: 6 });
  await waitFor("2 answers", () => site.paidCalls().size >= 2);
  first.kill("SIGKILL");
  const paid = new Map(site.paidCalls());
  await spawnWorker("test-workflows.ts");
  expect(await run.result({ timeoutMs: 30_000 })).toHaveLength(6);
  expect(site.paidCalls().size).toBe(6);
  expect(paid.size).toBeGreaterThan(1);
  expect(site.repeatedCalls()).toBeLessThanOrEqual(1);
});
