import { expect, test } from "vitest";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { monitorRedis, type SeenCommand } from "../support/monitor.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

test("a local step is one command; a run without limits asks nothing of limits", async () => {
  const { runs, work, redis, settings } = await workflowSite();
  const counting = anyWorkflow("counting", async (ctx, { n = 0 }) => {
    for (let i = 0; i < n; i++) await ctx.run("step", () => i);
  });
  await work(counting);
  await (await runs.start(counting, { n: 1 })).result();
  const keys = redisKeys(settings.namespace);
  const seen = await monitorRedis();
  /** What was asked about one run's record and journal: the worker asks for others all the time. */
  async function askedOf(runId: string, n: number) {
    await (await runs.start(counting, { n }, { runId })).result();
    await redis.echo(`the end of ${runId}`);
    await waitFor("its commands", () => seen.some(({ text }) => text.endsWith(`"the end of ${runId}"`)));
    return seen.filter(({ text }) => text.includes(keys.workflow(runId)));
  }
  const few = await askedOf("few", 2);
  const many = await askedOf("many", 22);
  const byClients = (asked: SeenCommand[]) => asked.filter(({ isOfScript }) => !isOfScript).length;
  expect(byClients(many) - byClients(few)).toBe(20);
  const ofLimits = seen.filter(({ text }) => text.includes(`${keys.workflowLimits.slice(0, -1)}:`));
  expect([...ofLimits, ...many.filter(({ text, isOfScript }) => isOfScript && /waitsAs/.test(text))]).toEqual(
    [],
  );
});
