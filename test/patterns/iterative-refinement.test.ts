import { expect, test } from "vitest";
import { Agent, defineEvaluator, iterativeRefinement } from "../../src/index.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";
import { waitFor } from "../support/wait-for.ts";

const DRAFTS = ["draft 1", "draft 2", "draft 3", "draft 4"];
const ENDS = { minQualityScore: 0.8, convergenceThreshold: 0.02 };
const INPUT = { input: "Explain tides.", producer: agent("producer"), ...ENDS };
/** Neither good enough nor converged, whatever the scores. */
const ENDLESS = { minQualityScore: 1, convergenceThreshold: 0 };

function agent(name: string) {
  const words = { description: `The ${name}.`, systemPrompt: `You are the ${name}.` };
  return new Agent({ name, ...words, model: `simulator:${name}` });
}

function critic(specialty: string, options: object = {}) {
  return { agent: agent(specialty), specialty, goal: `the goal of ${specialty}`, ...options };
}

function judged(score: number, ...issues: string[]) {
  return { json: { score, issues, suggestions: issues.map((issue) => `mend: ${issue}`) } };
}

test("the producer revises by all critiques until the score is reached; iterations × (1 + critics) calls", async () => {
  const { run, calls } = await patternSite({
    producer: DRAFTS,
    style: [judged(0.5, "long sentences"), judged(0.9)],
    facts: [judged(0.2, "no moon"), judged(0.7)],
  });
  const critics = [critic("style"), critic("facts")];
  const result = await run(iterativeRefinement, { ...INPUT, critics, minQualityScore: 0.8 });
  expect(result).toMatchObject({ finalOutput: "draft 2", iterations: 2 });
  expect(result.metadata).toEqual({
    stopReason: "quality",
    scores: [0.35, 0.8],
    bestIteration: 2,
    criticScores: [
      [
        { specialty: "style", score: 0.5 },
        { specialty: "facts", score: 0.2 },
      ],
      [
        { specialty: "style", score: 0.9 },
        { specialty: "facts", score: 0.7 },
      ],
    ],
  });
  const critiques = ["critique style", "critique facts"];
  const stages = result.agentInteractions.map(({ stage }) => stage);
  expect(stages).toEqual(["draft", ...critiques, "revision", ...critiques]);
  expect(calls()).toBe(2 * (1 + 2));

  const [draft, judging, , revision] = result.agentInteractions.map(({ input }) => input);
  expect(draft).toBe("Explain tides.");
  expect(revision).toContain("<task>\nExplain tides.\n</task>\n\n<draft>\ndraft 1\n</draft>");
  const critique = (name: string, score: number, issue: string) =>
    `${name}: the goal of ${name}\nScore: ${score}\nIssue: ${issue}\nSuggestion: mend: ${issue}\n`;
  expect(revision).toContain(critique("style", 0.5, "long sentences"));
  expect(revision).toContain(critique("facts", 0.2, "no moon"));
  expect(judging).toContain("one thing: style. Goal: the goal of style");
  expect(judging).toContain("<draft>\ndraft 1\n</draft>");
});

test("critics of one round are asked side by side", async () => {
  const names = ["one", "two", "three", "four"];
  const judgements = names.map((name) => [name, { ...judged(1), latencyMs: 600_000 }]);
  const { asksAtOnce } = await patternSite({ producer: DRAFTS, ...Object.fromEntries(judgements) });
  await asksAtOnce(iterativeRefinement, { ...INPUT, critics: names.map((name) => critic(name)) }, 4);
});

test("the score is the mean by the critics' weights", async () => {
  const { run } = await patternSite({ producer: DRAFTS, style: judged(0.2), facts: judged(1) });
  const critics = [critic("style"), critic("facts", { weight: 3 })];
  const result = await run(iterativeRefinement, { ...INPUT, critics, minQualityScore: 0.8 });
  expect(result.metadata).toMatchObject({ stopReason: "quality", scores: [0.8] });
});

test.each([
  ["a gain below convergenceThreshold", [0.5, 0.69], { convergenceThreshold: 0.2 }, "converged", "draft 2"],
  ["a loss, and the draft before is the result", [0.5, 0.4], {}, "converged", "draft 1"],
  ["a gain of the threshold does not", [0.5, 0.52, 0.54], {}, "max_iterations", "draft 3"],
  ["no gain does not when the threshold is 0", [0.5, 0.5, 0.5], ENDLESS, "max_iterations", "draft 1"],
  ["one draft is judged too", [0.5], { maxIterations: 1 }, "max_iterations", "draft 1"],
  ["a first draft that is good needs no revision", [0.9], {}, "quality", "draft 1"],
])("what ends it: %s", async (_what, scores, options, stopReason, finalOutput) => {
  const { run, calls } = await patternSite({ producer: DRAFTS, style: scores.map((score) => judged(score)) });
  const result = await run(iterativeRefinement, { ...INPUT, critics: [critic("style")], ...options });
  expect(result).toMatchObject({ finalOutput, iterations: scores.length, metadata: { stopReason, scores } });
  expect(calls()).toBe(scores.length * (1 + 1));
});

test("an evaluator's score stands in place of the critics', who still say what to mend", async () => {
  const byNumber = defineEvaluator("by-number", ({ input, output }) =>
    input === "Explain tides." && output === "draft 2" ? 1 : 0.3,
  );
  const script = { producer: DRAFTS, style: judged(0.9, "long sentences") };
  const { run, calls } = await patternSite(script, byNumber);
  const options = { critics: [critic("style")], qualityEvaluator: "by-number" };
  const result = await run(iterativeRefinement, { ...INPUT, ...options });
  expect(result).toMatchObject({ finalOutput: "draft 2", metadata: { scores: [0.3, 1] } });
  expect(result.agentInteractions[2]?.input).toContain("Issue: long sentences");
  expect(calls()).toBe(2 * (1 + 1));
});

test("an evaluator's score that is none fails the run", async () => {
  const wrong = defineEvaluator("percent", () => 70);
  const { run } = await patternSite({ producer: DRAFTS, style: judged(0.9) }, wrong);
  const options = { critics: [critic("style")], qualityEvaluator: "percent" };
  await expect(run(iterativeRefinement, { ...INPUT, ...options })).rejects.toThrow(
    /the score of evaluator "percent" is wrong/,
  );
});

test("a run whose evaluator no worker has waits and says so", async () => {
  const { work, start } = await patternSite({ producer: DRAFTS, style: judged(0.9) });
  await work();
  const options = { critics: [critic("style")], qualityEvaluator: "absent" };
  const handle = await start(iterativeRefinement, { ...INPUT, ...options });
  await waitFor("the reason", async () => /evaluator absent/.test(String((await handle.status()).waitsFor)));
  await handle.cancel();
});

const FAILING = { error: "400" } as const;
test("a failing critic fails the run, or is left out with onAgentError skip; when all fail, so does the run", async () => {
  const critics = [critic("style"), critic("facts")];
  const script = { producer: DRAFTS, style: FAILING, facts: judged(0.9) };
  const { run, calls } = await patternSite(script);
  await expect(run(iterativeRefinement, { ...INPUT, critics })).rejects.toMatchObject({
    code: "invalid_request",
  });
  const result = await run(iterativeRefinement, { ...INPUT, critics, onAgentError: "skip" });
  expect(result.metadata).toMatchObject({ scores: [0.9], criticScores: [[{ specialty: "facts" }]] });
  expect(calls("facts")).toBeGreaterThan(0);
  const none = { ...INPUT, critics: [critic("style")], onAgentError: "skip" };
  await expect(run(iterativeRefinement, none)).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  iterativeRefinement,
  "a killed worker: the run goes on in the round it had come to, and pays for nothing twice",
  async () => {
    const { survivesAKill } = await patternSite({
      producer: DRAFTS,
      style: [judged(0.1), judged(0.3), judged(0.5)],
      facts: [judged(0.1), judged(0.3), judged(0.5)],
    });
    const critics = [critic("style"), critic("facts")];
    const result = await survivesAKill(iterativeRefinement, { ...INPUT, critics }, 3 * (1 + 2));
    expect(result).toMatchObject({ finalOutput: "draft 3", metadata: { stopReason: "max_iterations" } });
  },
);

test.each([
  ["no critics", { critics: [] }, /wrong at critics: must have at least one critic/],
  ["no producer", { producer: undefined }, /wrong at producer/],
  ["a critic without a goal", { critics: [critic("style", { goal: "" })] }, /wrong at critics.0.goal/],
  ["a weight of 0", { critics: [critic("style", { weight: 0 })] }, /wrong at critics.0.weight/],
  [
    "a specialty that cannot name a step",
    { critics: [critic("style", { specialty: "a#b" })] },
    /wrong at critics.0.specialty/,
  ],
  ["0 iterations", { maxIterations: 0 }, /wrong at maxIterations/],
  ["a score in percent", { minQualityScore: 80 }, /wrong at minQualityScore/],
  ["a negative threshold", { convergenceThreshold: -0.1 }, /wrong at convergenceThreshold/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  const input = { ...INPUT, critics: [critic("style")], ...config };
  await expect(startWithoutRedis(iterativeRefinement, input)).rejects.toThrow(message);
});
