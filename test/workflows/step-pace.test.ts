import { describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { readRunJournal } from "../../src/store/run-journal.ts";
import { WorkflowHost } from "../../src/workflows/workflow-host.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const FAST = new Array<number>(60).fill(1);

const inTurn = defineWorkflow({
  name: "in-turn",
  input: z.array(z.number()),
  output: z.number(),
  run: async (ctx, latencies) => {
    for (const ms of latencies) await ctx.complete("step", `${ms}\n#sim {"latencyMs": ${ms}}`);
    return latencies.length;
  },
});

/** How often the run's job was taken: once at first, and once after each sleep. */
async function turnsOf(latencies: number[]): Promise<number> {
  const { runs, work, queueOf } = await workflowSite();
  await work(inTurn);
  const run = await runs.start(inTurn, latencies);
  expect(await run.result()).toBe(latencies.length);
  const job = await waitFor("the job's end", async () => {
    const seen = await queueOf("in-turn").getJob(run.id);
    return seen?.finishedOn ? seen : undefined;
  });
  return job.attemptsStarted;
}

describe("a run", () => {
  test("stays awake for a step when the one before it was fast", async () => {
    // Every step would make it 61; a busy machine makes some of them slow.
    expect(await turnsOf(FAST)).toBeLessThan(40);
  });

  test("sleeps while its steps take long", async () => {
    expect(await turnsOf([700, 700, 700])).toBe(4);
  });

  test("gives way to others while it stays awake", async () => {
    const { runs, serveModels, settings } = await workflowSite();
    await serveModels();
    const logger = createLogger({ level: "silent", json: true });
    const store = testStore(settings.namespace);
    const host = new WorkflowHost({ store, settings, logger, workflows: [inTurn], concurrency: 1 });
    onTestFinished(() => host.close({ drainMs: 0 }));
    const both = await Promise.all([runs.start(inTurn, FAST), runs.start(inTurn, FAST)]);
    await Promise.all(both.map((run) => run.result()));
    const [a = [], b = []] = await Promise.all(both.map((run) => readRunJournal(store, run.id)));
    const halfway = Math.max(...[a, b].map((journal) => Number(journal[FAST.length]?.at)));
    const ended = Math.min(...[a, b].map((journal) => Number(journal.at(-1)?.at)));
    expect(halfway).toBeLessThan(ended);
  });
});
