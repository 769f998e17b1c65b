import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { startWorker } from "../../src/host/one-process.ts";
import { defineActivity, defineWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const asking = defineWorkflow({
  name: "asking",
  input: z.string(),
  output: z.string(),
  run: async (ctx, question) => (await ctx.complete("ask", question)).finalResponse,
});

test("a run whose step waits for a provider that no worker has says so, as a job does", async () => {
  const { runs, settings, serveModels } = await workflowSite();
  const logger = createLogger({ level: "silent", json: true });
  const queueGlobs = ["completions.other.*"];
  const store = testStore(settings.namespace);
  const worker = await startWorker({ store, settings, logger, queueGlobs, workflows: [asking] });
  onTestFinished(() => worker.close());
  const run = await runs.start(asking, "who?");
  const lacking = 'a worker with provider entry "simulator"';
  await waitFor("what it waits for", async () => (await run.status()).waitsFor.includes(lacking));
  await serveModels();
  await run.result();
  expect((await run.status()).waitsFor).toEqual([]);
});

test("a workflow that nobody here has: the error says how a process gets its code", async () => {
  const { runs } = await workflowSite();
  const hint = expect.stringContaining("gluellm api --module FILE");
  await expect(runs.start("nobody-has-it", {})).rejects.toMatchObject({ code: "unknown_workflow", hint });
});

const noted = defineActivity({
  name: "noted",
  input: z.number(),
  output: z.number(),
  run: (n) => n,
});

const inTurn = defineWorkflow({
  name: "in-turn",
  input: z.string(),
  output: z.string(),
  run: async (ctx) => {
    // So long that the run goes to sleep for the step after it too.
    await ctx.complete("ask", 'who?\n#sim {"latencyMs": 700}');
    await ctx.activity(noted, 1);
    await ctx.waitFor("next", { schema: z.object({ count: z.number() }) });
    await ctx.waitFor("next");
    return "done";
  },
});

test("what a run waited for before is taken back when it waits for something else", async () => {
  const { runs, work, settings } = await workflowSite();
  await work(inTurn, noted);
  const run = await runs.start(inTurn, "");
  const told = async () => (await run.signals()).find(({ name, isWaiting }) => name === "next" && isWaiting);
  await waitFor("the first wait", async () => (await told())?.schema);
  await run.signal("next", { count: 1 });
  await waitFor("the second wait, of which nothing is said", async () => {
    const wait = await told();
    return wait !== undefined && wait.schema === undefined;
  });
  const { redis, keys } = testStore(settings.namespace);
  expect(await redis.hmget(keys.workflow(run.id), "activities", "calls", "waitSchemas")).toEqual([
    "[]",
    "[]",
    "{}",
  ]);
  await run.signal("next", "any");
  expect(await run.result()).toBe("done");
});
