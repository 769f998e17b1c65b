import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

describe("awaits of the function's own", () => {
  test("that end while the run is put to sleep wake it", async () => {
    const { runs, host } = await workflowSite();
    const raced = anyWorkflow("raced", async (ctx) => {
      await Promise.race([ctx.waitFor("never"), delay(Math.floor(ctx.random() * 12))]);
      return "done";
    });
    await host([raced]);
    const handles = await Promise.all(Array.from({ length: 150 }, () => runs.start(raced, {})));
    const results = await Promise.all(handles.map((run) => run.result()));
    expect(new Set(results)).toEqual(new Set(["done"]));
  });

  test("that take longer than a moment before a recorded step are waited for in a replay", async () => {
    const { runs, host } = await workflowSite();
    const slow = anyWorkflow("slow", async (ctx) => {
      await delay(800);
      const a = await ctx.run("a", () => 1);
      await ctx.waitFor("go");
      return a;
    });
    await host([slow], 0);
    const run = await runs.start(slow, {});
    await waitFor("its wait", async () => (await run.steps()).length === 2);
    await run.signal("go");
    expect(await run.result()).toBe(1);
  });
});

test("a step whose job was removed is an error at its await, not a run that hangs", async () => {
  const { runs, host, queueOf } = await workflowSite();
  const asks = anyWorkflow("asks", (ctx) => ctx.complete("ask", "hello").catch((error) => error.code));
  await host([asks]);
  const run = await runs.start(asks, {});
  const step = await waitFor("its step", async () => (await run.steps())[0]);
  const queue = queueOf(MODEL);
  await waitFor("its sleep", async () => (await queueOf("asks").getWaitingChildrenCount()) === 1);
  await waitFor("the removal", async () => (await queue.remove(step.job ?? "")) === 1);
  // Its job is made anew: nobody has answered it yet.
  await waitFor("a new job", async () => (await queue.getJob(step.job ?? "")) !== undefined);
  await run.cancel();
});

test("a step that ended unheard keeps its error", async () => {
  const { runs, host, serveModels, redis, settings } = await workflowSite();
  const failing = anyWorkflow("failing", async (ctx) => {
    const ok = await ctx.complete("ok", 'fine\n#sim {"reply": "fine", "tokens": 5}');
    const error = await ctx.complete("bad", 'refused\n#sim {"error": "400"}').catch((e) => e.code);
    await ctx.waitFor("go");
    return [ok.finalResponse, error];
  });
  await serveModels();
  const first = await host([failing], 0);
  const run = await runs.start(failing, {});
  await waitFor("its wait", async () => (await run.steps()).length === 3);
  await first.close({ drainMs: 0 });
  // As if the worker had been killed between the record and its word to the run.
  const journal = redisKeys(settings.namespace).workflowJournal(run.id);
  const entries = await redis.lrange(journal, 0, -1);
  const askedLast = entries.findIndex((text) => text.includes('"asked"') && text.includes('"bad"'));
  await redis.ltrim(journal, 0, askedLast);
  await host([failing], 0);
  await run.signal("go");
  expect(await run.result()).toEqual(["fine", "invalid_request"]);
});

test("what an ended run had under way ends too, though its worker died before it could end it", async () => {
  const { runs, host, redis, settings, queueOf } = await workflowSite();
  const child = anyWorkflow("child", (ctx) => ctx.waitFor("never"));
  const parent = anyWorkflow("parent", (ctx) =>
    Promise.race([ctx.child("child", child, {}), ctx.waitFor("go")]),
  );
  const first = await host([parent, child]);
  const run = await runs.start(parent, {});
  await waitFor("both steps", async () => (await run.steps()).length === 2);
  await waitFor(
    "their sleep",
    async () =>
      (await queueOf("parent").getWaitingChildrenCount()) +
        (await queueOf("child").getWaitingChildrenCount()) ===
      2,
  );
  await first.close({ drainMs: 0 });
  const keys = redisKeys(settings.namespace);
  const end = { status: "succeeded", output: '"over"', finishedAt: String(Date.now()) };
  await redis.hset(keys.workflow(run.id), end);
  // Its job comes to the next worker, as after a kill.
  await redis.lrem(`${keys.prefix}:workflows.parent:wait`, 0, run.id);
  await redis.zrem(`${keys.prefix}:workflows.parent:waiting-children`, run.id);
  await redis.lpush(`${keys.prefix}:workflows.parent:wait`, run.id);
  await redis.zadd(`${keys.prefix}:workflows.parent:marker`, 0, "0");
  await host([parent, child]);
  const childRun = (await run.steps()).find(({ kind }) => kind === "child")?.job ?? "";
  await waitFor("the child's end", async () => (await runs.open(childRun).status()).state === "cancelled");
});

test("a deadline is kept though no worker has what the run needs", async () => {
  const { runs, host } = await workflowSite();
  const needy = { ...anyWorkflow("needy", async () => 1), requires: () => ["retriever:docs"] };
  await host([needy]);
  const run = await runs.start(needy, {}, { deadlineMs: 500 });
  await expect(run.result()).rejects.toMatchObject({ code: "deadline_exceeded" });
});

test.each([
  [
    "a sleep without end",
    (ctx: Parameters<Parameters<typeof anyWorkflow>[1]>[0]) => ctx.sleep(Number.POSITIVE_INFINITY),
    /a sleep must last/,
  ],
  [
    "a timeout that is no number",
    (ctx: Parameters<Parameters<typeof anyWorkflow>[1]>[0]) => ctx.waitFor("go", { timeoutMs: Number.NaN }),
    /timeoutMs must be/,
  ],
])("%s is refused", async (_what, use, message) => {
  const { runs, host } = await workflowSite();
  const wrong = anyWorkflow("wrong", use);
  await host([wrong]);
  await expect((await runs.start(wrong, {})).result()).rejects.toThrow(message);
});

test("something without a text that local work throws ends the step", async () => {
  const { runs, host } = await workflowSite();
  const odd = anyWorkflow("odd", (ctx) =>
    ctx.run("odd", () => {
      throw Object.create(null);
    }),
  );
  await host([odd]);
  await expect((await runs.start(odd, {})).result()).rejects.toMatchObject({ code: "workflow_failed" });
});
