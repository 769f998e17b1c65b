import { expect, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { readRunSnapshot } from "../../src/store/run-snapshot.ts";
import type { WorkflowContext } from "../../src/workflows/context.ts";
import { replayRun } from "../../src/workflows/replay-run.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const large = "x".repeat(20_000);
let works = 0;
const effects: string[] = [];

/** All kinds of steps; the variants change what comes in between. */
async function body(ctx: WorkflowContext, change = "") {
  if (change === "inserted call") await say(ctx, "new");
  if (change === "inserted work") await ctx.run("new", () => effects.push("new"));
  const draft = await say(ctx, "draft", change === "other prompt" ? "another" : "draft");
  ctx.metadata.set("draft", draft);
  if (change !== "removed work") await ctx.run("work", () => ({ n: ++works, large }));
  if (change === "removed work" || change === "other order") await ctx.sleep("rest", 1);
  if (change === "guarded" && ctx.patch("guard")) await say(ctx, "new");
  const [left] = await Promise.all([
    ctx.child("child", child, {}),
    change === "other kind" ? ctx.waitFor("beside") : say(ctx, "beside"),
    ...(change === "one more beside" ? [ctx.run("more", () => effects.push("more"))] : []),
  ]);
  ctx.onCancel(() => void effects.push("cancelled"));
  const go = await ctx.waitFor<string>("go");
  await ctx.run("fails", () => Promise.reject(new Error("known"))).catch(() => {});
  if (change === "asks on") await say(ctx, "new");
  if (change === "throws") throw new RangeError("new");
  return [draft, left, go, ctx.random()];
}
const child = anyWorkflow("child", async (ctx) => say(ctx, "inner"));
const original = anyWorkflow("flow", (ctx) => body(ctx));

test("what runs have recorded is given to changed code without any effect, and it is said where that differs", async () => {
  const { runs, redis, settings, host, serveModels } = await workflowSite();
  await serveModels();
  const started = await host([original, child]);
  const [ended, , cancelled] = await Promise.all(
    ["ended", "waiting", "cancelled"].map((runId) => runs.start(original, {}, { runId })),
  );
  const isWaiting = async (id: string) =>
    (await runs.open(id).steps()).some(({ step, state }) => step === "go" && state === "running");
  for (const id of ["ended", "waiting", "cancelled"]) await waitFor(id, () => isWaiting(id));
  await ended?.signal("go", "now");
  await ended?.result();
  await cancelled?.cancel();
  await started.close({ drainMs: 0 });
  effects.length = 0;
  const worksBefore = works;

  const store = testStore(settings.namespace);
  const keys = async () => {
    const names = (await redis.keys(`*${settings.namespace}*:*`)).filter((key) =>
      /:(workflow|result|blob):/.test(key),
    );
    return Promise.all(names.sort().map(async (name) => [name, await redis.dump(name)]));
  };
  const keysBefore = await keys();
  const logger = createLogger({ level: "silent", json: true });
  const replay = async (runId: string, change: string) => {
    const snapshot = await readRunSnapshot(store, runId);
    if (!snapshot) throw new Error(`no run ${runId}`);
    // As a file keeps it.
    const kept = JSON.parse(JSON.stringify(snapshot)) as typeof snapshot;
    const outcome = await replayRun(
      kept,
      anyWorkflow("flow", (ctx) => body(ctx, change)),
      { settings, logger },
    );
    return outcome.kind === "differs" ? [outcome.step, outcome.message] : outcome.kind;
  };
  for (const change of ["", "guarded"]) {
    for (const id of ["ended", "waiting", "cancelled"])
      expect([id, change, await replay(id, change)]).toEqual([id, change, "fits"]);
  }
  for (const [change, step, says] of [
    ["inserted call", "draft", 'the code asks for "new"'],
    ["inserted work", "draft", 'the code asks for "new"'],
    ["one more beside", "go", 'the code asks for "more"'],
    ["other prompt", "draft", "has changed"],
    ["removed work", "work", "is missing"],
    ["other order", "child", 'the code asks for "rest"'],
    ["other kind", "beside", "has changed: recorded completion"],
  ] as const) {
    for (const id of ["ended", "waiting"])
      expect([id, change, await replay(id, change)]).toEqual([
        id,
        change,
        [step, expect.stringContaining(says)],
      ]);
  }
  expect(await replay("ended", "asks on")).toEqual([
    "new",
    expect.stringContaining("recorded the run's end (succeeded)"),
  ]);
  expect(await replay("ended", "throws")).toEqual([undefined, expect.stringContaining("RangeError: new")]);
  expect(await replay("waiting", "asks on")).toBe("fits");
  expect([effects, works]).toEqual([[], worksBefore]);
  expect(await keys()).toEqual(keysBefore);

  const snapshot = await readRunSnapshot(store, "ended");
  const lost = await replayRun({ ...snapshot!, results: {} }, original, { settings, logger });
  expect(lost).toEqual({ kind: "skipped", reason: 'the answer of step "draft" is no longer in Redis' });
  expect(await readRunSnapshot(store, "none")).toBeUndefined();
});

test("of a run that went on as new, its present part is replayed", async () => {
  const { runs, settings, host } = await workflowSite();
  const parts = (isOther: boolean) =>
    anyWorkflow("parts", async (ctx, { n = 0 }) => {
      await ctx.run(isOther ? "other" : "work", () => n);
      if (n < 2) return ctx.continueAsNew({ n: n + 1 });
      return isOther ? n : await ctx.waitFor("go");
    });
  await host([parts(false)]);
  const run = await runs.start(parts(false), {}, { runId: "run-parts" });
  const store = testStore(settings.namespace);
  await waitFor("the last part's wait", async () =>
    (await run.steps()).some(({ kind }) => kind === "signal"),
  );
  const options = { settings, logger: createLogger({ level: "silent", json: true }) };
  const replay = async (isOther: boolean) =>
    replayRun((await readRunSnapshot(store, "run-parts"))!, parts(isOther), options);
  expect(await replay(false)).toEqual({ kind: "fits" });
  expect(await replay(true)).toMatchObject({
    kind: "differs",
    message: expect.stringContaining("is missing"),
  });
});
