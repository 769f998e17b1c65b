import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { startNode } from "../support/processes.ts";
import { even, short } from "../support/rollout-rewards.ts";
import { sampleOf } from "../support/sample.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const DRIVER = join(import.meta.dirname, "../support/killed-rollout.ts");
const GROUPS = 4;
const SAMPLES = 3;
/** opened; of each group started, played, kept; collected; six files. */
const BOUNDARIES = 1 + 3 * GROUPS + 1 + 6;

/** A rollout that a process of its own drives, killed at its nth boundary. */
function driverOf(env: Record<string, string>, folder: string) {
  const rows = Array.from({ length: GROUPS }, (_, n) => ({ prompt: `question ${n}` }));
  return (mode: string, nth = 0) =>
    startNode([DRIVER, String(nth), mode, folder, JSON.stringify(rows)], { env });
}

const boundaries = sampleOf(
  "boundaries of a rollout",
  Array.from({ length: BOUNDARIES }, (_, n) => n + 1),
  1,
);

test.each(boundaries)(
  "whoever drives a rollout is killed at boundary %i: the next one pays for no sample again",
  async (nth) => {
    const { site, work } = await workflowSite();
    await work(even, short);
    const drive = driverOf(site.env, site.path("out"));
    expect(await drive("fleet", nth).exit).toBe("SIGKILL");
    const second = drive("fleet");
    expect(await second.exit, second.stderr()).toBe(0);
    const calls = site.simulator.journal.entries();
    expect(calls).toHaveLength(GROUPS * SAMPLES);
    expect(new Set(calls.map(({ contentHash }) => contentHash)).size).toBe(GROUPS * SAMPLES);
    const samples = site.read("out/samples.jsonl");
    expect(samples.map(({ group, sample }) => [group, sample])).toEqual(
      Array.from({ length: GROUPS * SAMPLES }, (_, i) => [Math.floor(i / SAMPLES), i % SAMPLES]),
    );
    expect(site.countLines("out/steps.jsonl")).toBe(2);
  },
);

test.skipIf(!inject("isFull"))("there are as many boundaries as this file says", async () => {
  const { site, work } = await workflowSite();
  await work(even, short);
  const run = driverOf(site.env, site.path("out"))("fleet");
  expect(await run.exit, run.stderr()).toBe(0);
  expect(JSON.parse(run.stdout())).toEqual({ seen: BOUNDARIES, samples: GROUPS * SAMPLES });
});

const KILLS = 5;
/** Two groups at a time, all of whose samples may be asked. */
const IN_FLIGHT = 2 * SAMPLES;

test.skipIf(!inject("isFull"))(
  "a process that drives and works is killed again and again: only calls in flight are paid for twice",
  async () => {
    const { site } = await workflowSite({ latencyMs: 40, jitterMs: 30 }, SHORT_LOCKS);
    const drive = driverOf(site.env, site.path("out"));
    for (let kill = 1; kill <= KILLS; kill++) {
      const run = drive("local");
      await waitFor(
        "calls",
        () => site.simulator.journal.entries().length >= (kill * 10) / KILLS || run.child.exitCode !== null,
      );
      run.child.kill("SIGKILL");
      await run.exit;
    }
    const last = drive("local");
    expect(await last.exit, last.stderr()).toBe(0);
    const calls = site.simulator.journal.entries();
    const hashes = new Set(calls.map(({ contentHash }) => contentHash));
    expect(hashes.size).toBe(GROUPS * SAMPLES);
    expect(calls.length - hashes.size).toBeLessThanOrEqual(KILLS * IN_FLIGHT);
    expect(site.read("out/groups.jsonl")).toHaveLength(GROUPS);
  },
);
