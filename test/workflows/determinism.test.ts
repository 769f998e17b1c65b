import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, NonDeterminismError, type WorkflowContext } from "../../src/index.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** Versions of one workflow's code. */
function code<T>(run: (ctx: WorkflowContext) => Promise<T>, version = 1) {
  return defineWorkflow({ name: "edited", version, input: z.object({}), output: z.any(), run });
}

const ask = (ctx: WorkflowContext, name: string, text = name) =>
  ctx.complete(name, `${text}\n#sim {"reply": "${name}"}`).then((result) => result.finalResponse);

const original = code(async (ctx) => {
  const draft = await ask(ctx, "draft");
  const review = await ask(ctx, "review");
  await ctx.waitFor("go");
  return [draft, review];
});

/** A run of the original that waits for its signal, with nobody to work on it any more. */
async function pausedRun(workflow = original) {
  const fleet = await workflowSite();
  await fleet.serveModels();
  const host = await fleet.host([workflow]);
  const run = await fleet.runs.start(workflow, {});
  await waitFor("the wait", async () => (await run.steps()).some(({ step }) => step === "go"));
  await host.close();
  return { ...fleet, run };
}

test.each([
  [
    "a renamed step",
    async (ctx: WorkflowContext) => {
      await ask(ctx, "sketch");
      await ctx.waitFor("go");
    },
    /step "draft" is missing: recorded completion simulator:test, current the code asks for "sketch"/,
  ],
  [
    "reordered steps",
    async (ctx: WorkflowContext) => {
      await ask(ctx, "review");
      await ask(ctx, "draft");
      await ctx.waitFor("go");
    },
    /step "draft" is missing: .* current the code asks for "review"/,
  ],
  [
    "another question under the same name",
    async (ctx: WorkflowContext) => {
      await ask(ctx, "draft", "another draft");
      await ask(ctx, "review");
      await ctx.waitFor("go");
    },
    /step "draft" has changed: recorded completion simulator:test input [0-9a-f]{12}, current completion simulator:test input [0-9a-f]{12}/,
  ],
  [
    "another kind of step under the same name",
    async (ctx: WorkflowContext) => {
      await ctx.run("draft", () => "local");
      await ask(ctx, "review");
      await ctx.waitFor("go");
    },
    /step "draft" has changed: recorded completion .* current local/,
  ],
  [
    "a removed step",
    async (ctx: WorkflowContext) => void (await ask(ctx, "draft")),
    /step "review" is missing: recorded completion.*, current the function has ended/,
  ],
])("%s is found out, named, and held for code that fits", async (_what, run, message) => {
  const { run: paused, host, site } = await pausedRun();
  const calls = site.simulator.journal.entries().length;
  const wrong = await host([code(run, 2)]);
  await paused.signal("go");
  const failure = paused.result();
  await expect(failure).rejects.toBeInstanceOf(NonDeterminismError);
  await expect(failure).rejects.toThrow(message);
  expect((await paused.status()).state).toBe("running");
  expect((await paused.status()).waitsFor[0]).toMatch(message);
  await wrong.close();
  await host([original]);
  await waitFor("the run's end", async () => (await paused.status()).state === "succeeded");
  expect(await paused.result()).toEqual(["draft", "review"]);
  expect((await paused.status()).waitsFor).toEqual([]);
  expect(site.simulator.journal.entries().length).toBe(calls);
});

test("a patched change lets old runs end the old way and new ones go the new way", async () => {
  const patched = code(async (ctx) => {
    const draft = ctx.patch("outline first") ? await ask(ctx, "outline") : await ask(ctx, "draft");
    const review = await ask(ctx, "review");
    await ctx.waitFor("go");
    return [draft, review, ctx.patch("never before"), ctx.patch("outline first")];
  }, 2);
  const { run, host, runs } = await pausedRun();
  await host([patched], 0);
  const fresh = await runs.start(patched, {});
  for (const each of [run, fresh]) await each.signal("go");
  expect(await run.result()).toEqual(["draft", "review", true, false]);
  expect(await fresh.result()).toEqual(["outline", "review", true, true]);
});

test("a step that was added side by side is run once and remembered", async () => {
  const both = code(async (ctx) => Promise.all([ask(ctx, "draft"), ask(ctx, "review"), ctx.waitFor("go")]));
  const more = code(
    async (ctx) => Promise.all([ask(ctx, "draft"), ask(ctx, "review"), ctx.waitFor("go"), ask(ctx, "extra")]),
    2,
  );
  const { run, host, site } = await pausedRun(both);
  await host([more], 0);
  await run.signal("go", "gone");
  expect(await run.result()).toEqual(["draft", "review", "gone", "extra"]);
  expect(site.repeatedCalls()).toBe(0);
});

test("an observed failure stays one, though an operator retries its job with success", async () => {
  const fleet = await workflowSite({ faults: { script: [{ match: "shaky", fault: "400", times: 1 }] } });
  const { runs, host, site, queueOf } = fleet;
  await fleet.serveModels();
  const shaky = code(async (ctx) => {
    const outcome = await ask(ctx, "shaky").catch(() => "failed");
    await ctx.waitFor("go");
    return outcome === "failed" ? ask(ctx, "plan b") : outcome;
  });
  await host([shaky], 0);
  const run = await runs.start(shaky, {});
  const steps = () => run.steps();
  await waitFor("the wait", async () => (await steps()).some(({ step }) => step === "go"));
  const [failed] = await steps();
  expect(failed?.state).toBe("failed");
  const job = await queueOf("simulator:test").getJob(failed?.job ?? "");
  await job?.retry("failed");
  await waitFor("the retry's success", () =>
    [...site.paidCalls().keys()].some((text) => text.startsWith("shaky")),
  );
  await run.signal("go");
  expect(await run.result()).toBe("plan b");
});

test("awaits that are no steps are waited for, live and in replay", async () => {
  const { runs, workReplaying, site } = await workflowSite();
  const own = code(async (ctx) => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    const first = await ask(ctx, "first");
    await new Promise((resolve) => setTimeout(resolve, 30));
    const [second] = await Promise.all([ask(ctx, "second"), ctx.sleep(60)]);
    return [first, second];
  });
  await workReplaying(own);
  expect(await (await runs.start(own, {})).result()).toEqual(["first", "second"]);
  expect(site.repeatedCalls()).toBe(0);
});

test("a race ends the same way however often it is replayed", async () => {
  const { runs, workReplaying } = await workflowSite({ latencyMs: 3, jitterMs: 3 });
  const winners: string[][] = [];
  const racing = code(async (ctx) => {
    const seen: string[] = [];
    winners.push(seen);
    for (let round = 0; round < 4; round++) {
      const names = ["a", "b", "c"].map((name) => `${name}${round}`);
      seen.push(await Promise.race(names.map((name) => ask(ctx, name))));
    }
    return seen;
  });
  await workReplaying(racing);
  const result = await (await runs.start(racing, {})).result();
  expect(winners.length).toBeGreaterThan(3);
  for (const seen of winners) expect(result.slice(0, seen.length)).toEqual(seen);
});
