import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { MODEL, TestSite } from "../support/site.ts";

const REWARDS = join(import.meta.dirname, "../support/rollout-rewards.ts");

test("a rollout on the command line, its second run and its rescoring; the report of the semantic cache", async () => {
  const site = await TestSite.open(
    { latencyMs: 1 },
    { GLUELLM_SEMANTIC_CACHE: "shadow", GLUELLM_SEMANTIC_CACHE_MODEL: "simulator:embedder" },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  site.write("in.jsonl", site.rows(3));
  const args = ["rollout", "in.jsonl", "-o", "out", "-m", MODEL, "--samples", "2", "--reward", REWARDS];
  const first = await site.run(...args, "--export", "trl", "--export", "verifiers");
  expect(first.code, first.stderr).toBe(0);
  expect(first.stdout).toMatch(/^3 groups, \d informative; 6 samples, 0 failed\nreward -?\d/);
  expect(first.stdout).toContain("verifiers: out/verifiers/results.jsonl");
  const paid = site.simulator.journal.entries().length;
  expect(paid).toBe(6);
  // Each further command is a process.
  if (!inject("isFull")) return;
  const wrong = await site.run(...args, "--samples", "0");
  expect([wrong.code, wrong.stderr]).toEqual([
    2,
    expect.stringContaining("must be a whole number from 1 to 1024"),
  ]);
  const other = await site.run(...args, "--samples", "3");
  expect([other.code, other.stderr]).toEqual([2, expect.stringContaining("another input or other options")]);
  const empty = site.path("no-rewards.ts");
  writeFileSync(empty, "export const nothing = 1;\n");
  const none = await site.run("rollout", "rescore", "out", "--reward", empty);
  expect([none.code, none.stderr]).toEqual([3, expect.stringContaining("exports no tools, agents")]);
  const rescored = await site.run(
    "rollout",
    "rescore",
    "out",
    "--reward",
    REWARDS,
    "--scale",
    "none",
    "--json",
  );
  expect(rescored.code, rescored.stderr).toBe(0);
  expect(JSON.parse(rescored.stdout)).toMatchObject({
    groups: 3,
    samples: 6,
    files: { steps: "out/steps.jsonl" },
  });
  expect(site.simulator.journal.entries()).toHaveLength(paid);
  const report = await site.run("cache", "report");
  expect(report.stdout).toContain("has compared no question");
});
