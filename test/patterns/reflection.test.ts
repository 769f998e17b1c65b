import { expect, test } from "vitest";
import { Agent, reflection } from "../../src/index.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

function agent(name: string) {
  const words = { description: `The ${name}.`, systemPrompt: `You are the ${name}.` };
  return new Agent({ name, ...words, model: `simulator:${name}` });
}
const CONFIG = { input: "Explain tides.", generator: agent("generator"), reflector: agent("reflector") };
const VERSIONS = ["version 1", "version 2", "version 3", "version 4"];

function judged(score: number, ...issues: string[]) {
  return { json: { issues, suggestions: issues.map((issue) => `mend: ${issue}`), score } };
}
const FIRST = judged(0.3, "no moon");
const FAULTY = [FIRST, judged(0.5, "no sun"), judged(0.6, "too long")];

test("revises after each reflection up to maxReflections, with all reflections so far; 1 + 2 × maxReflections calls", async () => {
  const { run, calls } = await patternSite({ generator: VERSIONS, reflector: FAULTY });
  const result = await run(reflection, CONFIG);
  expect(result).toMatchObject({
    finalOutput: "version 4",
    iterations: 3,
    metadata: { stopReason: "max_reflections", scores: [0.3, 0.5, 0.6] },
  });
  expect(result.metadata.reflections).toEqual(FAULTY.map(({ json }) => json));
  expect(calls()).toBe(1 + 2 * 3);
  const stages = result.agentInteractions.map(({ stage, agent }) => `${stage} ${agent}`);
  const round = ["reflect reflector", "revise generator"];
  expect(stages).toEqual(["draft generator", ...round, ...round, ...round]);

  const [draft, , firstRevision, , secondRevision] = result.agentInteractions.map(({ input }) => input);
  expect(draft).toBe("Explain tides.");
  expect(firstRevision).toContain("<task>\nExplain tides.\n</task>\n\n<text>\nversion 1\n</text>");
  expect(firstRevision).not.toContain("<reflection-2>");
  expect(secondRevision).toContain("<text>\nversion 2\n</text>");
  expect(secondRevision).toMatch(
    /<reflection-1>\nIssue: no moon\nSuggestion: mend: no moon\n<\/reflection-1>/,
  );
  expect(secondRevision).toMatch(/<reflection-2>\nIssue: no sun\n/);
});

test("a reflection without issues ends it: 2 × r calls at reflection r", async () => {
  const { run, calls } = await patternSite({ generator: VERSIONS, reflector: [FIRST, judged(0.9)] });
  const result = await run(reflection, CONFIG);
  expect(result).toMatchObject({
    finalOutput: "version 2",
    iterations: 2,
    metadata: { stopReason: "no_issues", scores: [0.3, 0.9] },
  });
  expect(calls()).toBe(2 * 2);
});

test.each([
  ["gains less than improvementThreshold: that version is the result", [0.5, 0.54], "version 2"],
  ["loses: the version before is the result", [0.5, 0.4], "version 1"],
])("it ends when a version %s", async (_what, scores, finalOutput) => {
  const reflector = scores.map((score) => judged(score, "an issue"));
  const { run, calls } = await patternSite({ generator: VERSIONS, reflector });
  const result = await run(reflection, { ...CONFIG, maxReflections: 5, improvementThreshold: 0.1 });
  expect(result).toMatchObject({
    finalOutput,
    iterations: 2,
    metadata: { stopReason: "converged", scores },
  });
  expect(calls()).toBe(4);
});

test("a gain of the threshold goes on; without a threshold a loss does too", async () => {
  const { run } = await patternSite({
    generator: VERSIONS,
    reflector: [judged(0.5, "a"), judged(0.6, "b")],
  });
  const gained = await run(reflection, { ...CONFIG, maxReflections: 2, improvementThreshold: 0.1 });
  expect(gained.metadata.stopReason).toBe("max_reflections");

  const other = await patternSite({ generator: VERSIONS, reflector: [judged(0.5, "a"), judged(0.2, "b")] });
  const lost = await other.run(reflection, { ...CONFIG, maxReflections: 2 });
  expect(lost).toMatchObject({ finalOutput: "version 3", metadata: { stopReason: "max_reflections" } });
});

test("without a reflector the generator reflects, and reflectionPrompt takes the place of the words it is told", async () => {
  const { run, calls } = await patternSite({ generator: ["a draft", FIRST, "the end"] });
  const { reflector: _none, ...alone } = CONFIG;
  const reflectionPrompt = "Look for missing celestial bodies.";
  const result = await run(reflection, { ...alone, maxReflections: 1, reflectionPrompt });
  expect(result.finalOutput).toBe("the end");
  expect(calls("generator")).toBe(3);
  const [, reflected] = result.agentInteractions;
  expect(reflected?.agent).toBe("generator");
  expect(reflected?.input).toBe(
    `${reflectionPrompt}\n\n<task>\nExplain tides.\n</task>\n\n<text>\na draft\n</text>`,
  );
});

test("a text cannot end the block that it stands in", async () => {
  const { run } = await patternSite({ generator: "a </text> draft", reflector: judged(1) });
  const result = await run(reflection, CONFIG);
  expect(result.agentInteractions[1]?.input).toContain("<text>\na &lt;/text> draft\n</text>");
});

test("a score out of its range is repaired, not taken", async () => {
  const { run } = await patternSite({
    generator: VERSIONS,
    reflector: (_call, n) => (n === 0 ? judged(7) : judged(0.7)),
  });
  const result = await run(reflection, CONFIG);
  expect(result.metadata.scores).toEqual([0.7]);
});

test("a failing reflector fails the run with the error of its call", async () => {
  const { run } = await patternSite({ generator: VERSIONS, reflector: { error: "400" } });
  await expect(run(reflection, CONFIG)).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  reflection,
  "a killed worker: the run goes on at the reflection it had come to, and pays for none twice",
  async () => {
    // Slow enough that the kill falls into the run.
    const generator = VERSIONS.map((reply) => ({ reply, latencyMs: 100 }));
    const { survivesAKill, calls } = await patternSite({ generator, reflector: FAULTY });
    const result = await survivesAKill(reflection, CONFIG, 7);
    expect(calls()).toBeLessThanOrEqual(7 + 1);
    expect(result.finalOutput).toBe("version 4");
  },
);

test.each([
  ["no generator", { generator: undefined }, /wrong at generator/],
  ["no reflections", { maxReflections: 0 }, /wrong at maxReflections/],
  ["more reflections than can be meant", { maxReflections: 101 }, /wrong at maxReflections/],
  ["half a reflection", { maxReflections: 1.5 }, /wrong at maxReflections/],
  ["a threshold above every gain", { improvementThreshold: 1.1 }, /wrong at improvementThreshold/],
  ["a threshold below 0", { improvementThreshold: -0.1 }, /wrong at improvementThreshold/],
  ["an empty prompt", { reflectionPrompt: " " }, /wrong at reflectionPrompt: must not be empty/],
  ["an unknown option", { maxIterations: 3 }, /maxIterations/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(reflection, { ...CONFIG, ...config })).rejects.toThrow(message);
});
