import { expect, test } from "vitest";
import type { GlueError, WorkflowContext } from "../../src/index.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const child = anyWorkflow("child", async () => "child");

/** A step of each kind, all of one name. */
const KINDS: Record<string, (ctx: WorkflowContext) => Promise<unknown>> = {
  local: (ctx) => ctx.run("step", () => "local"),
  completion: (ctx) => say(ctx, "step"),
  child: (ctx) => ctx.child("step", child, {}),
  sleep: (ctx) => ctx.sleep("step", 1),
  signal: (ctx) => ctx.waitFor("step"),
};
const PAIRS = Object.keys(KINDS).flatMap((was) =>
  Object.keys(KINDS).flatMap((is) => (was === is ? [] : [{ was, is, name: `${was}-to-${is}` }])),
);

function code(name: string, kind: string) {
  return anyWorkflow(name, async (ctx) => {
    const brought = await KINDS[kind]?.(ctx);
    const signal = await ctx.waitFor("go");
    return [brought, signal, await ctx.run("end", () => 1)];
  });
}

test("what is recorded of a step answers only a step of its kind, and the journal stays whole", async () => {
  const { runs, host, serveModels, redis, settings } = await workflowSite();
  await serveModels();
  const before = PAIRS.map(({ name, was }) => code(name, was));
  const first = await host([...before, child], 0);
  const started = await Promise.all(before.map((workflow) => runs.start(workflow, {})));
  for (const [n, run] of started.entries()) {
    if (PAIRS[n]?.was === "signal") await run.signal("step", "signal");
    await waitFor("the wait", async () => (await run.steps()).some(({ step }) => step === "go"));
  }
  await first.close();
  const journals = () =>
    Promise.all(started.map(({ id }) => redis.llen(redisKeys(settings.namespace).workflowJournal(id))));
  const changed = await host([...PAIRS.map(({ name, is }) => code(name, is)), child], 0);
  for (const run of started) await run.signal("go", "gone");
  const whole = await journals();
  for (const [n, run] of started.entries()) {
    const { was, is, name } = PAIRS[n] ?? {};
    const message = new RegExp(`step "step" has changed: recorded ${was}.*, current ${is}`);
    await expect(run.result(), name).rejects.toThrow(message);
  }
  expect(await journals()).toEqual(whole);
  await changed.close();
  await host([...before, child], 0);
  for (const [n, run] of started.entries()) {
    await waitFor(PAIRS[n]?.name ?? "", async () => (await run.status()).state === "succeeded");
    expect((await run.result()).slice(1)).toEqual(["gone", 1]);
  }
});

test("a step inside a step's work is refused, whatever it is, and what the work draws does not count", async () => {
  const { runs, host } = await workflowSite();
  const inner: Record<string, (ctx: WorkflowContext) => unknown> = {
    ...KINDS,
    branches: (ctx) => ctx.branches({ a: async () => 1 }),
    patch: (ctx) => ctx.patch("new"),
    later: async (ctx) => {
      await new Promise((resolve) => setImmediate(resolve));
      return ctx.run("step", () => 1);
    },
  };
  const nested = anyWorkflow("nested", async (ctx) => {
    const codes: string[] = [];
    for (const [name, ask] of Object.entries(inner)) {
      const retry = { maxAttempts: 3, minWaitMs: 600_000 };
      const fault = await ctx
        .run<unknown>(name, () => ask(ctx), { retry })
        .catch((error: GlueError) => error);
      codes.push((fault as GlueError).code);
    }
    await ctx.run("draws", () => [ctx.random(), ctx.uuid()]);
    const drawn = [ctx.random(), ctx.uuid()];
    const recorded = await ctx.run("drawn", () => drawn);
    await ctx.sleep(1);
    return { codes, same: JSON.stringify(recorded) === JSON.stringify(drawn) };
  });
  await host([nested], 0);
  const run = await runs.start(nested, {});
  expect(await run.result()).toEqual({ codes: Object.keys(inner).map(() => "nested_step"), same: true });
  expect((await run.steps()).map(({ step }) => step)).not.toContain("step");
});
