import { expect, test } from "vitest";
import type { WorkflowHandle } from "../../src/index.ts";
import type { ResultRecord } from "../../src/shared/records.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { leaf, mixed } from "../support/chaos-workflows.ts";
import { seededRandom, sizeOf } from "../support/sample.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const RUNS_PER_KILL = 3;
const WORKERS = 3;
const KILLS = sizeOf(6, 2);
const RUNS = RUNS_PER_KILL * (KILLS + 1);
const CALLS_PER_RUN = 8;

test("workers killed at random: every result is right, and no finished step is run again", {
  tags: "long",
}, async () => {
  const { site, settings, redis, runs, spawnWorker } = await workflowSite(
    { latencyMs: 60, jitterMs: 60 },
    SHORT_LOCKS,
  );
  const workers = await Promise.all(Array.from({ length: WORKERS }, () => spawnWorker("chaos-workflows.ts")));
  const handles: WorkflowHandle<string[]>[] = [];
  const random = seededRandom("moments of kills");
  const startSome = async () => {
    for (let n = 0; n < RUNS_PER_KILL; n++) {
      const run = await runs.start(mixed, { id: `run ${handles.length}` });
      await run.signal("go", "gone");
      handles.push(run);
    }
  };
  for (let kill = 1; kill <= KILLS; kill++) {
    await startSome();
    const calls = site.simulator.journal.entries().length + 1 + random() * 10;
    await waitFor("more calls", () => site.simulator.journal.entries().length > calls);
    workers.shift()?.kill("SIGKILL");
    workers.push(await spawnWorker("chaos-workflows.ts"));
  }
  await startSome();
  const results = await Promise.all(handles.map((run) => run.result()));
  for (const result of results) {
    expect(result).toEqual(["a", "b", "cd", "r", "xy", "raced", "gone", "f"]);
  }
  const calls = Map.groupBy(
    site.simulator.journal.entries(),
    ({ lastUserText }) => lastUserText.split("\n")[0],
  );
  expect(calls.size).toBe(RUNS * CALLS_PER_RUN);
  const keys = redisKeys(settings.namespace);
  for (const [n, handle] of handles.entries()) {
    const steps = await handle.steps();
    const child = steps.find(({ kind }) => kind === "child");
    const childSteps = await runs.open(child?.job ?? "").steps();
    const asked = [
      ...steps.map(({ step, job }) => [`run ${n} ${step.replace("/", " ")}`, job] as const),
      ...childSteps.map(({ step, job }) => [`run ${n} child ${step}`, job] as const),
    ].filter(([prompt]) => calls.has(prompt));
    expect(asked).toHaveLength(CALLS_PER_RUN);
    for (const [prompt, job = ""] of asked) {
      const record = JSON.parse((await redis.get(keys.result(job))) ?? "{}") as ResultRecord;
      expect(record.status).toBe("succeeded");
      const later = calls.get(prompt)?.filter(({ at }) => at > record.finishedAt);
      expect(later, `calls of "${prompt}" after its record`).toEqual([]);
    }
  }
  // Few kills may all fall between two calls.
  expect(site.repeatedCalls()).toBeGreaterThanOrEqual(sizeOf(1, 0));
});

test("the chaos run's workflows end the same without any chaos", async () => {
  const { runs, work } = await workflowSite();
  await work(mixed, leaf);
  const run = await runs.start(mixed, { id: "calm" });
  await run.signal("go", "gone");
  expect(await run.result()).toEqual(["a", "b", "cd", "r", "xy", "raced", "gone", "f"]);
});
