import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { GlueLLM, type RolloutOptions } from "../../src/index.ts";
import type { Sample } from "../../src/rollouts/group.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";
import { even, odd, short } from "../support/rollout-rewards.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { add } from "../support/tools.ts";
import { workflowSite } from "../support/workflow-site.ts";

const ROWS = ["sea", "wind", "stone"].map((word) => ({ prompt: `A word for the ${word}.`, answer: word }));

/** A client that works too, whose models follow a script. */
async function rolloutSite(answer?: (call: Call) => ScriptedAnswer | undefined, variables = {}) {
  const site = await TestSite.open(
    { latencyMs: 1, ...(answer && { answer }) },
    { GLUELLM_DEFAULT_MODEL: MODEL, ...variables },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const glue = new GlueLLM({ mode: "local", settings: loadSettings({ env: site.env, cwd: "/" }) });
  onTestFinished(() => glue.close());
  const output = site.path("out");
  const roll = (options: Partial<RolloutOptions> = {}) =>
    glue.rollout({ prompts: ROWS, samples: 4, rewards: [even, short], output, ...options });
  const lines = async (name: string) =>
    (await readFile(join(output, name), "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  const groups = async (): Promise<{ samples: Sample[]; discarded?: Sample[] }[]> => lines("groups.jsonl");
  return { site, glue, roll, lines, groups, calls: () => site.simulator.journal.entries() };
}

test("each prompt has its samples, each with a seed of its own, scores, advantages and files for trainers", async () => {
  const { roll, lines, calls, groups } = await rolloutSite();
  const report = await roll({ exports: ["trl", "dpo", "verifiers"], groupsPerStep: 2 });
  expect(report).toMatchObject({ groups: 3, samples: 12, failed: 0, unscored: 0, discarded: 0 });
  expect(calls()).toHaveLength(12);
  expect(new Set(calls().map(({ contentHash }) => contentHash)).size).toBe(12);
  const all = (await groups()).flatMap(({ samples }) => samples);
  expect(new Set(all.map(({ seed }) => seed)).size).toBe(12);
  const samples = await lines("samples.jsonl");
  expect(samples.map(({ group, sample, step }) => [step, group, sample])).toEqual(
    [0, 1, 2].flatMap((group) => [0, 1, 2, 3].map((sample) => [group < 2 ? 0 : 1, group, sample])),
  );
  for (const { reward, rewards, text } of samples) {
    expect(rewards.even).toBe(text.length % 2 === 0 ? 1 : 0);
    expect(reward).toBeCloseTo(rewards.even - text.length / 200, 9);
  }
  const steps = await lines("steps.jsonl");
  expect(steps.map(({ step, groups: count, samples: n }) => [step, count, n])).toEqual([
    [0, 2, 8],
    [1, 1, 4],
  ]);
  expect(steps[0].length.sum + steps[1].length.sum).toBe(report.length.sum);
  expect(Object.keys((await lines("trl.jsonl"))[0])).toEqual([
    "step",
    "prompt",
    "completion",
    "even",
    "short",
    "advantage",
  ]);
  for (const { prompt, chosen, rejected } of await lines("dpo.jsonl")) {
    expect([prompt[0].role, chosen[0].role, rejected[0].role]).toEqual(["user", "assistant", "assistant"]);
    expect(chosen).not.toEqual(rejected);
  }
  const results = await lines("verifiers/results.jsonl");
  expect(results).toHaveLength(12);
  expect(Object.keys(results[0]).sort()).toEqual(
    [
      ...["answer", "completion", "error", "example_id", "is_completed", "is_truncated", "metrics", "prompt"],
      ...["reward", "stop_condition", "task", "timing", "token_usage"],
    ].sort(),
  );
});

test("the first sample of a prompt is answered before the others are asked", async () => {
  const { roll, calls } = await rolloutSite();
  await roll();
  for (const own of Map.groupBy(calls(), ({ lastUserText }) => lastUserText).values()) {
    const [first, ...others] = [...own].sort((a, b) => a.at - b.at);
    for (const other of others) expect(other.at).toBeGreaterThanOrEqual(first?.finishedAt ?? Number.NaN);
  }
});

test("a reward that throws, is late or is no number is null with its reason; the others count", async () => {
  const { roll, groups, lines } = await rolloutSite(({ model }) =>
    model === "judge" ? { json: { reason: "fine", score: 0.25 } } : undefined,
  );
  const rewards = [even, odd.throwing, odd.nan, odd.none, odd.slow, odd.changing, odd.judge];
  const report = await roll({ rewards, samples: 2, prompts: ROWS.slice(0, 1) });
  const [group] = await groups();
  for (const sample of group?.samples ?? []) {
    const { rewards: scores, rewardErrors, reasons, completion } = sample;
    expect(scores).toMatchObject({
      throwing: null,
      nan: null,
      none: null,
      slow: null,
      changing: 1,
      judged: 0.25,
    });
    expect(rewardErrors).toMatchObject({
      throwing: { code: "workflow_failed", message: "no such row" },
      nan: { code: "reward_not_a_number", message: 'reward "nan" returned NaN' },
      slow: { code: "step_timeout" },
    });
    expect(rewardErrors?.none).toBeUndefined();
    expect(reasons).toEqual({ judged: "fine" });
    expect(completion).toHaveLength(1);
  }
  expect(report.rewards.judged).toEqual({ mean: 0.25, scored: 2 });
  expect((await lines("samples.jsonl"))[0].reward).toBeCloseTo((group?.samples[0]?.rewards.even ?? 0) + 1.25);
});

test("samples of several turns call tools and are answered by the environment", async () => {
  const { roll, groups, calls } = await rolloutSite(({ turn, tools }) =>
    turn === 0 && tools.length > 0
      ? { toolCalls: [{ name: "add", arguments: { a: 1, b: 2 } }] }
      : { reply: `answer ${turn}` },
  );
  await roll({ tools: [add], environment: odd.replies, samples: 2, prompts: ROWS.slice(0, 1), maxTurns: 5 });
  const [group] = await groups();
  for (const { completion, turns, text, stopReason } of group?.samples ?? []) {
    expect(completion.map(({ role, content }) => [role, content])).toEqual([
      ["assistant", null],
      ["tool", "3"],
      ["assistant", "answer 1"],
    ]);
    expect([turns, text, stopReason]).toEqual([2, "answer 1", "stop"]);
  }
  expect(calls()).toHaveLength(4);
});

test("an environment has the last word but one, and maxTurns the last", async () => {
  const { roll, groups } = await rolloutSite(({ turn }) => ({ reply: `answer ${turn}` }));
  await roll({ environment: odd.replies, samples: 1, prompts: ROWS.slice(0, 1), maxTurns: 1 });
  const [group] = await groups();
  expect(group?.samples[0]).toMatchObject({ turns: 1, stopReason: "max_turns" });
});

test("a group whose rewards are all equal is sampled anew, and what was discarded stays in the sums", async () => {
  let asked = 0;
  const { roll, groups, calls } = await rolloutSite(() => ({
    reply: ++asked <= 2 ? "same" : "x".repeat(asked),
  }));
  const report = await roll({ prompts: ROWS.slice(0, 1), samples: 2, resample: 3 });
  expect(report).toMatchObject({ informative: 1, samples: 2, discarded: 2 });
  expect(calls()).toHaveLength(4);
  const [group] = await groups();
  expect(group?.discarded?.map(({ text }) => text)).toEqual(["same", "same"]);
});

test("uninformative groups are left out of trainers' files by default, and are in all others", async () => {
  const { roll, lines } = await rolloutSite(() => ({ reply: "same" }));
  const report = await roll({ exports: ["trl", "dpo", "verifiers"] });
  expect(report).toMatchObject({ informative: 0, groups: 3 });
  expect(Object.keys(report.files)).toEqual(["groups", "samples", "steps", "verifiers"]);
  expect((await lines("samples.jsonl"))[0]).toMatchObject({
    informative: false,
    dropped: true,
    advantage: null,
  });
  await roll({ exports: ["trl"], uninformative: "keep" });
  expect((await lines("trl.jsonl"))[0]).toMatchObject({ advantage: 0 });
});

test("a finished rollout is scored again without a call; a judge keeps its scores, and a new one is refused", async () => {
  const { glue, roll, lines, calls, site } = await rolloutSite(({ model }) =>
    model === "judge" ? { json: { reason: "", score: 0.5 } } : undefined,
  );
  await roll({ rewards: [even, odd.judge], samples: 2 });
  const paid = calls().length;
  const output = site.path("out");
  const report = await glue.rescore({ output, rewards: [short, odd.nan, odd.judge], exports: ["trl"] });
  expect(calls()).toHaveLength(paid);
  expect(Object.keys(report.rewards)).toEqual(["short", "nan", "judged"]);
  const samples = await lines("samples.jsonl");
  for (const { rewards, rewardErrors, text } of samples) {
    expect(rewards).toEqual({ short: -text.length / 100, nan: null, judged: 0.5 });
    expect(rewardErrors.nan.code).toBe("reward_not_a_number");
  }
  await glue.rescore({ output, rewards: [short] });
  await expect(glue.rescore({ output, rewards: [odd.judge] })).rejects.toMatchObject({
    code: "judge_not_recorded",
  });
  await expect(roll({ samples: 2 })).rejects.toMatchObject({ code: "other_rollout" });
});

test("what cannot be is said before anything is asked", async () => {
  const { glue, roll, calls, site } = await rolloutSite();
  await expect(roll({ samples: 0 })).rejects.toThrow("the options are wrong at samples: must be at least 1");
  await expect(roll({ rewards: [] })).rejects.toThrow("must have at least one reward");
  await expect(roll({ rewards: [even, even] })).rejects.toThrow('two rewards are called "even"');
  await expect(roll({ prompts: [] })).rejects.toMatchObject({ code: "empty_input" });
  await expect(roll({ prompts: [{ prompt: " " }] })).rejects.toThrow('prompts[0] has no prompt in "prompt"');
  await expect(roll({ prompts: site.path("nowhere.jsonl") })).rejects.toThrow("there is no such file");
  site.write("broken.jsonl", ['{"prompt": "a"}', "{"]);
  await expect(roll({ prompts: site.path("broken.jsonl") })).rejects.toThrow("line 2 of");
  await expect(glue.rescore({ output: site.path("none"), rewards: [even] })).rejects.toThrow(
    "holds no rollout",
  );
  expect(calls()).toHaveLength(0);
  await roll({ samples: 1, prompts: ROWS.slice(0, 1) });
  await expect(roll({ samples: 2, prompts: ROWS.slice(0, 1) })).rejects.toMatchObject({
    code: "other_rollout",
  });
  await expect(roll({ samples: 1, prompts: ROWS.slice(0, 1), rewards: [even] })).rejects.toThrow(
    "with other rewards",
  );
});

test("a fault of one sample is that sample's; one of the account stops the rollout, which goes on once it is mended", async () => {
  let isMended = false;
  const { roll, groups, calls } = await rolloutSite(({ lastUserText }) => {
    if (lastUserText.includes("stone") && !isMended) return { error: "401" };
    return lastUserText.includes("wind") ? { error: "400" } : undefined;
  });
  await expect(roll({ samples: 2, groupsInFlight: 1 })).rejects.toMatchObject({ category: "authentication" });
  isMended = true;
  const before = calls().length;
  const report = await roll({ samples: 2, groupsInFlight: 1 });
  expect(report).toMatchObject({ samples: 6, failed: 2, unscored: 2 });
  expect((await groups())[1]?.samples[0]).toMatchObject({ stopReason: "error", rewards: { even: null } });
  expect(calls().length - before).toBe(2);
});

test.skipIf(!inject("isFull"))(
  "a rollout whose rewards no worker has says so, and goes on when one comes",
  async () => {
    const { site, work } = await workflowSite();
    await work();
    await using glue = new GlueLLM({ mode: "fleet", settings: loadSettings({ env: site.env, cwd: "/" }) });
    const waits = Promise.withResolvers<readonly string[]>();
    const report = glue.rollout({
      ...{ prompts: ROWS, samples: 1, rewards: [even], output: site.path("out") },
      onProgress: ({ waitsFor }) => waitsFor && waits.resolve(waitsFor),
    });
    expect((await waits.promise).join()).toContain("needs a worker with reward even");
    await work(even);
    expect(await report).toMatchObject({ samples: 3, failed: 0 });
  },
);
