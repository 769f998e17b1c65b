import { describe, expect, test } from "vitest";
import { defineWorkflow, type WorkflowContext } from "../../src/index.ts";
import { MAX_QUEUES, workflowQueue } from "../../src/shared/catalog.ts";
import { partsOf } from "../../src/store/bullmq-internals.ts";
import { registeredQueues, registerQueue } from "../../src/store/queue-registry.ts";
import { anyWorkflow, say } from "../support/any-workflow.ts";
import { isEncrypted, testStore } from "../support/redis.ts";
import { deployed } from "../support/rolling-workflows.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** Versions of one workflow, which ask for different steps. */
function version(number: number, more: { versionGraceMs?: number } = {}, named = number) {
  const run = async (ctx: WorkflowContext) => {
    await ctx.run(`step ${number}`, () => number);
    await ctx.waitFor("go");
    return number;
  };
  const base = anyWorkflow("deployed", run);
  return defineWorkflow({ ...base, version: named, ...more });
}

describe("a queue of each workflow", () => {
  test("is served by workers that have the workflow alone, and knows its runs, their steps and children", async () => {
    const { runs, work, queueOf, settings } = await workflowSite();
    const child = anyWorkflow("child", (ctx) => say(ctx, "ask"));
    const parent = anyWorkflow("parent", async (ctx) => {
      await ctx.sleep(1);
      return ctx.child("child", child, {});
    });
    await work(anyWorkflow("other", async () => 1));
    const run = await runs.start(parent, {});
    expect((await run.status()).waitsFor).toEqual(['a worker with workflow "parent"']);
    await work(parent, child);
    expect(await run.result()).toBe("said ask");
    // Nobody without the workflow had it: none had to put it back for another worker.
    expect((await queueOf("parent").getJob(run.id))?.progress).not.toMatchObject({
      waitsFor: expect.stringContaining("worker"),
    });
    const [, childStep] = await run.steps();
    const childJob = await queueOf("child").getJob(childStep?.job ?? "");
    expect(childJob?.opts.parent?.queue).toContain(workflowQueue("parent"));
    const [ask] = await runs.open(childStep?.job ?? "").steps();
    const job = await queueOf(MODEL).getJob(ask?.job ?? "");
    expect(job?.opts.parent?.queue).toContain(workflowQueue("child"));
    // A worker that would wake the run in the one queue of before leaves the step to others.
    expect(job?.data.v).toBe(isEncrypted ? 7 : 3);
    expect(await registeredQueues(testStore(settings.namespace))).toEqual(
      expect.arrayContaining([workflowQueue("parent"), workflowQueue("child")]),
    );
  });

  test("does not count towards the models' limit", async () => {
    const { settings } = await workflowSite();
    const store = testStore(settings.namespace);
    await Promise.all(
      Array.from({ length: MAX_QUEUES + 1 }, (_, n) => registerQueue(store, workflowQueue(`w${n}`))),
    );
    for (let n = 0; n < 3; n++) await registerQueue(store, `completions.simulator.m${n}`, 2);
    // Queues without jobs do not count either.
    for (let n = 0; n < 2; n++)
      await store.redis.lpush(partsOf(store, `completions.simulator.m${n}`).wait, "job");
    await expect(registerQueue(store, "completions.simulator.more", 2)).rejects.toMatchObject({
      code: "too_many_queues",
    });
    await registerQueue(store, workflowQueue("more"));
  });

  test("has a bound of its own: runs whose local work hangs keep no others from theirs", async () => {
    const { runs, host } = await workflowSite();
    const hanging = anyWorkflow("hanging", (ctx) => ctx.run("hang", () => new Promise(() => {})));
    const quick = anyWorkflow("quick", (ctx) => ctx.run("quick", () => "done"));
    await host([hanging, quick]);
    const stuck = await Promise.all(Array.from({ length: 101 }, () => runs.start(hanging, {})));
    await waitFor("all places taken", async () => (await stuck[99]?.steps())?.length === 1);
    expect(await (await runs.start(quick, {})).result()).toBe("done");
    await Promise.all(stuck.map((run) => run.cancel()));
  });
});

describe("versions", () => {
  test("a run stays with its own while a worker has it, and no caller is told of the others", {
    tags: "long",
  }, async () => {
    const { runs, work, site } = await workflowSite();
    const [old, fresh] = [version(1), version(2, { versionGraceMs: 0 })];
    const worker = await work(old);
    const started = await Promise.all([1, 2, 3, 4, 5].map(() => runs.start(old, {})));
    for (const run of started) await waitFor("its wait", async () => (await run.steps()).length === 2);
    await work(fresh);
    const results = started.map((run) => run.result());
    for (const run of started) await run.signal("go");
    expect(await Promise.all(results)).toEqual([1, 1, 1, 1, 1]);
    const newer = await runs.start(fresh, {});
    await newer.signal("go");
    expect(await newer.result()).toBe(2);
    const of = async () => (await runs.versions()).filter(({ workflow }) => workflow === "deployed");
    expect((await of()).map((each) => each.version)).toEqual([2, 1]);
    expect((await site.run("workflow", "versions")).stdout).toMatch(/deployed +2 +\S+:\d+\ndeployed +1 /);
    await worker.close();
    expect((await of()).map((each) => each.version)).toEqual([2]);
  });

  test("a run goes over to a later one some time after the last worker of its own", async () => {
    const { runs, work } = await workflowSite();
    const worker = await work(version(1));
    const run = await runs.start(version(1), {});
    await waitFor("its wait", async () => (await run.steps()).length === 2);
    await worker.close();
    const waiting = await work(version(1, { versionGraceMs: 600_000 }, 2));
    await run.signal("go");
    await waitFor("the reason", async () => (await run.status()).waitsFor[0]?.includes("may come back"));
    await waiting.close();
    await work(version(1, { versionGraceMs: 0 }, 3));
    expect(await run.result()).toBe(1);
  });

  test("changed code under the same version leaves runs to workers that have the old one", async () => {
    const { runs, work } = await workflowSite();
    await work(version(1));
    const started = await Promise.all([1, 2, 3, 4].map(() => runs.start(version(1), {})));
    for (const run of started) await waitFor("its wait", async () => (await run.steps()).length === 2);
    await work(version(2, {}, 1));
    for (const run of started) await run.signal("go");
    expect(await Promise.all(started.map((run) => run.result()))).toEqual([1, 1, 1, 1]);
  });

  test("code with a patch takes over at once what code without one leaves for versionGraceMs", async () => {
    const { runs, work } = await workflowSite();
    const worker = await work(version(1));
    const run = await runs.start(version(1), {});
    await waitFor("its wait", async () => (await run.steps()).length === 2);
    await worker.close();
    const later = { version: 2, versionGraceMs: 600_000 };
    const unpatched = await work(version(1, { versionGraceMs: 600_000 }, 2));
    await run.signal("go");
    await waitFor("the reason", async () => (await run.status()).waitsFor[0]?.includes("may come back"));
    await unpatched.close();
    const base = anyWorkflow("deployed", async (ctx) => {
      await ctx.run("step 1", () => 1);
      await ctx.waitFor("go");
      return ctx.patch("new-end") ? "patched" : "old";
    });
    await work(defineWorkflow({ ...base, ...later }));
    expect(await run.result()).toBe("patched");
  });

  test("result() does not throw while a living worker, held up as it may be, has not said that its code does not fit", {
    tags: "long",
  }, async () => {
    const { runs, work, spawnWorker, queueOf } = await workflowSite();
    const old = await spawnWorker("rolling-workflows.ts", "workflows");
    const run = await runs.start(deployed, {});
    await waitFor("its wait", async () => (await run.steps()).length === 2);
    await work(version(2, {}, 1));
    old.kill("SIGSTOP");
    const result = run.result();
    await run.signal("go");
    const putBacks = async () =>
      ((await queueOf("deployed").getJob(run.id))?.progress as { putBacks?: number })?.putBacks;
    // Well before the card of the stopped one is gone, on a busy machine too.
    await waitFor("its offers", async () => ((await putBacks()) ?? 0) >= 3);
    old.kill("SIGCONT");
    expect(await result).toBe(1);
  });
});
