import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { readRunJournal } from "../../src/store/run-journal.ts";
import { WorkflowHost } from "../../src/workflows/workflow-host.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const RUNS = 4;
const BYTES = 100_000;
const LARGE = "x".repeat(BYTES);
const SMALL = "x".repeat(BYTES / 10);
const KINDS = ["input", "small local work", "local work", "signal", "answer"] as const;

/** How often the function began while four runs were given so much each, slept and went on. */
async function beginningsOf(kind: (typeof KINDS)[number], stickyBytes?: number): Promise<number> {
  const { runs, serveModels, settings, queueOf } = await workflowSite();
  let beginnings = 0;
  const sleeper = defineWorkflow({
    name: "sleeper",
    input: z.string(),
    output: z.number(),
    run: async (ctx, given) => {
      beginnings += 1;
      let bytes = given.length;
      if (kind === "local work") bytes += (await ctx.run("work", () => LARGE)).length;
      if (kind === "small local work")
        for (let n = 0; n < 10; n++) bytes += (await ctx.run(`work ${n}`, () => SMALL)).length;
      if (kind === "signal") bytes += String(await ctx.waitFor("given")).length;
      if (kind === "answer")
        bytes += (await ctx.complete("ask", `#sim {"reply": "${LARGE}"}`)).finalResponse.length;
      await ctx.waitFor("go");
      return bytes;
    },
  });
  await serveModels();
  const logger = createLogger({ level: "silent", json: true });
  const store = testStore(settings.namespace);
  const host = new WorkflowHost({ store, settings, logger, workflows: [sleeper], stickyBytes });
  onTestFinished(() => host.close({ drainMs: 0 }));
  const started = await Promise.all(
    Array.from({ length: RUNS }, () => runs.start(sleeper, kind === "input" ? LARGE : "")),
  );
  if (kind === "signal") await Promise.all(started.map((run) => run.signal("given", LARGE)));
  for (const run of started) {
    await waitFor("it sleeps", async () => {
      const journal = await readRunJournal(store, run.id);
      const isLast = journal.some((entry) => entry.type === "asked" && entry.subject === "go");
      return isLast && (await queueOf("sleeper").getJobState(run.id)) === "waiting-children";
    });
  }
  await Promise.all(started.map((run) => run.signal("go", null)));
  expect(await Promise.all(started.map((run) => run.result()))).toEqual(new Array(RUNS).fill(BYTES));
  return beginnings;
}

test.each(KINDS)(
  "functions that were given much by %s do not stay in memory, and go on all the same",
  async (kind) => {
    expect(await beginningsOf(kind, 2 * BYTES)).toBeGreaterThanOrEqual(2 * RUNS - 1);
  },
);

test("functions stay in memory where there is room", async () => {
  expect(await beginningsOf("local work")).toBe(RUNS);
});
