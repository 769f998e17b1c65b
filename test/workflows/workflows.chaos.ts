import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { WorkflowHandle } from "../../src/index.ts";
import type { ResultRecord } from "../../src/shared/records.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { mixed } from "../support/chaos-workflows.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** `npm run test:chaos`: some minutes of workers killed and stopped, too long for each run of the suite. */
const RUNS = 30;
const KILLS = 42;
const STOPS = 3;
/** Longer than a run's lock lasts. */
const STOPPED_MS = 12_000;
/** Lock and stall check; the rest is the machine's. */
const RECOVERY_MS = 15_000;
const ROLES = ["workflows", "workflows", "models", "models"] as const;
type Role = (typeof ROLES)[number];

test("workers of either kind killed and stopped at any point: every result right, no finished step run again", async () => {
  const { site, settings, redis, runs, spawnWorker } = await workflowSite({ latencyMs: 80, jitterMs: 80 });
  const { journal } = site.simulator;
  const spawn = async (role: Role) => ({ role, child: await spawnWorker("chaos-workflows.ts", role) });
  const workers = await Promise.all(ROLES.map(spawn));
  const handles: WorkflowHandle<string[]>[] = [];
  const startOne = async () => {
    const run = await runs.start(mixed, { id: `run ${handles.length}` });
    handles.push(run);
    await run.signal("go", "gone");
  };

  /** Where the blow falls: at any time, right after an answer was sent, or right after a run was started. */
  const moments = [
    () => delay(Math.random() * 400),
    async () => {
      const answered = () => journal.entries().filter(({ finishedAt }) => finishedAt !== null).length;
      const before = answered();
      await waitFor("an answer", () => answered() > before || isIdle(), 10_000);
    },
    () => (handles.length < RUNS ? startOne() : delay(Math.random() * 100)),
  ];
  const isIdle = () => journal.entries().every(({ finishedAt }) => finishedAt !== null);

  const stopped: Promise<void>[] = [];
  for (let blow = 0; blow < KILLS + STOPS; blow++) {
    if (handles.length < RUNS) await startOne();
    await moments[blow % moments.length]?.();
    const [victim] = workers.splice(blow % workers.length, 1);
    if (!victim) continue;
    if (blow % 15 === 14) stopped.push(stopFor(victim.child));
    else victim.child.kill("SIGKILL");
    workers.push(await spawn(victim.role));
  }
  while (handles.length < RUNS) await startOne();
  await Promise.all(stopped);

  const results = await Promise.all(handles.map((run) => run.result({ timeoutMs: 120_000 })));
  for (const result of results) {
    expect(result).toEqual(["a", "b", "cd", "r", "xy", "raced", "gone", "f"]);
  }

  const keys = redisKeys(settings.namespace);
  let worstGapMs = 0;
  let repeated = 0;
  const calls = Map.groupBy(journal.entries(), ({ lastUserText }) => lastUserText.split("\n")[0] ?? "");
  for (const [n, handle] of handles.entries()) {
    const steps = await handle.steps();
    worstGapMs = Math.max(worstGapMs, longestGap(steps));
    const child = steps.find(({ kind }) => kind === "child");
    const childSteps = await runs.open(child?.job ?? "").steps();
    const jobs = [
      ...steps.map(({ step, job }) => [`run ${n} ${step.replace("/", " ")}`, job] as const),
      ...childSteps.map(({ step, job }) => [`run ${n} child ${step}`, job] as const),
    ];
    for (const [prompt, job = ""] of jobs) {
      const asked = calls.get(prompt);
      if (!asked) continue;
      const record = JSON.parse((await redis.get(keys.result(job))) ?? "{}") as ResultRecord;
      expect(
        asked.filter(({ at }) => at > record.finishedAt),
        `calls of "${prompt}" after its record`,
      ).toEqual([]);
      repeated += asked.length - 1;
    }
  }
  console.log(
    `${RUNS} runs, ${KILLS} kills, ${STOPS} stops of ${STOPPED_MS / 1000} s: ${journal.entries().length} calls, ` +
      `${repeated} repeated (in flight at a kill), longest standstill of a run ${(worstGapMs / 1000).toFixed(1)} s`,
  );
  expect(worstGapMs).toBeLessThan(2 * RECOVERY_MS);
}, 600_000);

/** Held up beyond its locks, then let go on: its late words must change nothing. */
async function stopFor(child: ChildProcess): Promise<void> {
  child.kill("SIGSTOP");
  await delay(STOPPED_MS);
  child.kill("SIGCONT");
}

/** Between any two things that happened in a run. */
function longestGap(steps: readonly { startedAt?: Date; finishedAt?: Date }[]): number {
  const times = steps
    .flatMap(({ startedAt, finishedAt }) => [startedAt, finishedAt])
    .flatMap((at) => at?.getTime() ?? []);
  times.sort((a, b) => a - b);
  return Math.max(0, ...times.slice(1).map((at, i) => at - (times[i] ?? at)));
}
