import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const reviewed = defineWorkflow({
  name: "reviewed",
  input: z.object({}),
  output: z.unknown(),
  signals: {
    review: z.object({ approved: z.boolean(), note: z.string().default("none") }),
    when: z.date(),
  },
  run: async (ctx) => {
    const first = await ctx.waitFor("review");
    const when = await ctx.waitFor<Date>("when");
    return { first, other: await ctx.waitFor("other"), isDate: when instanceof Date };
  },
});

const waiting = defineWorkflow({
  name: "waiting",
  input: z.object({}),
  output: z.unknown(),
  run: async (ctx) => {
    const count = await ctx.waitFor("next", { schema: z.object({ count: z.int() }) });
    return { count, text: await ctx.waitFor("next", { schema: z.string() }) };
  },
});

test("a signal that misfits the wait that gets it is refused at once, and the run goes on waiting", async () => {
  const { runs, work } = await workflowSite();
  await work(waiting);
  const run = await runs.start(waiting, {}, { runId: "waiting-1" });
  await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes('signal "next"'));
  expect(await run.signals()).toMatchObject([
    { name: "next", isWaiting: true, schema: { required: ["count"] } },
  ]);
  await expect(run.signal("next", { count: "many" })).rejects.toMatchObject({
    code: "invalid_signal",
    message: expect.stringContaining("/count"),
  });
  // The second one is the next wait's, whether the run knows of the first one or not.
  await run.signal("next", { count: 3 });
  await run.signal("next", "a text");
  expect(await run.result()).toEqual({ count: { count: 3 }, text: "a text" });
});

test("a signal that its workflow declares is refused at once when it does not fit, and shaped when it does", async () => {
  const { runs, work, site } = await workflowSite();
  await work(reviewed);
  const run = await runs.start(reviewed, {}, { runId: "reviewed-1", tags: ["t"] });
  await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes('signal "review"'));
  await waitFor("its signals", async () => (await run.signals()).length === 2);
  expect(await run.signals()).toMatchObject([
    { name: "review", isWaiting: true, schema: { required: ["approved"] } },
    { name: "when", isWaiting: false },
  ]);
  const wrong = { approved: "perhaps" };
  await expect(run.signal("review", wrong)).rejects.toMatchObject({
    code: "invalid_signal",
    message: expect.stringContaining("/approved"),
  });
  expect(await runs.signalRuns({ tag: "t" }, "review", wrong)).toMatchObject({
    failed: 1,
    failures: [{ code: "invalid_signal" }],
  });
  const told = await site.run("workflow", "signals", "reviewed-1");
  expect(told.stdout).toMatch(/review +yes +approved: boolean, note\?: string/);
  const refused = await site.run("workflow", "signal", "reviewed-1", "review", "{}");
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("approved") });

  await run.signal("review", { approved: true });
  // JSON Schema says nothing of dates; names that are not declared may bring anything.
  await run.signal("when", new Date());
  await run.signal("other", [1]);
  expect(await run.result()).toEqual({
    first: { approved: true, note: "none" },
    other: [1],
    isDate: true,
  });
});
