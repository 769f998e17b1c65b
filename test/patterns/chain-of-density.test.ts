import { expect, test } from "vitest";
import { Agent, chainOfDensity } from "../../src/index.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

const generator = new Agent({
  name: "writer",
  description: "Writes summaries.",
  systemPrompt: "You write summaries.",
  model: "simulator:writer",
});
const CONFIG = { input: "Summarize: the moon makes the tides.", generator };
const FIRST = "It is about the sea and why.";
/** Of the first text's length. */
const TEXTS = ["Tides: the moon lifts seas.", "Tides: moon, Newton in 1687.", "Moon, Newton 1687: Fundy 16m"];
const LONG = "Tides come twice a day, and the moon is what lifts the sea.";

function denser(text: string, ...missing: string[]) {
  return { json: { missing, text } };
}
const DENSER = TEXTS.map((text, i) => denser(text, ["moon", "Newton", "Fundy"][i] ?? ""));

test("each text works in what the one before lacked; numIterations calls, the first text included", async () => {
  const { run, calls } = await patternSite({ writer: [FIRST, ...DENSER] });
  const result = await run(chainOfDensity, { ...CONFIG, numIterations: 4 });
  expect(result).toMatchObject({
    finalOutput: TEXTS[2],
    iterations: 4,
    metadata: {
      stopReason: "num_iterations",
      added: [["moon"], ["Newton"], ["Fundy"]],
      lengths: [28, 27, 28, 28],
    },
  });
  expect(calls()).toBe(4);
  expect(result.agentInteractions.map(({ stage }) => stage)).toEqual(["first", "denser", "denser", "denser"]);
  const [first, second, third] = result.agentInteractions.map(({ input }) => input);
  expect(first).toMatch(/few entities .*\n\n<task>\nSummarize: the moon makes the tides.\n<\/task>$/);
  expect(second).toContain(`<text>\n${FIRST}\n</text>`);
  expect(second).toContain("about 28 characters");
  expect(third).toContain(`<text>\n${TEXTS[0]}\n</text>`);
});

test("five texts by default, of one agent", async () => {
  const grown = ["a", "b", "c", "d"].map((added) => denser(`${FIRST}${added}`, added));
  const { run, calls } = await patternSite({ writer: [FIRST, ...grown] });
  const result = await run(chainOfDensity, CONFIG);
  expect(result).toMatchObject({ finalOutput: `${FIRST}d`, iterations: 5 });
  expect(calls()).toBe(5);
});

test("one text is the first one: a single call", async () => {
  const { run, calls } = await patternSite({ writer: FIRST });
  const result = await run(chainOfDensity, { ...CONFIG, numIterations: 1 });
  expect(result).toMatchObject({ finalOutput: FIRST, iterations: 1, metadata: { added: [] } });
  expect(calls()).toBe(1);
});

test("nothing missing: it ends with the text before", async () => {
  const { run, calls } = await patternSite({ writer: [FIRST, DENSER[0] ?? "", denser("not asked for")] });
  const result = await run(chainOfDensity, CONFIG);
  expect(result).toMatchObject({
    finalOutput: TEXTS[0],
    iterations: 2,
    metadata: { stopReason: "nothing_missing", added: [["moon"]], lengths: [28, 27] },
  });
  expect(calls()).toBe(3);
});

test("a text that grew by over a fifth is cut, once: 2 × numIterations − 1 calls when all of them do", async () => {
  const { run, calls } = await patternSite({
    writer: [FIRST, denser(LONG, "moon"), TEXTS[0] ?? "", denser(`${LONG}!`, "day"), `${LONG}?`],
  });
  const result = await run(chainOfDensity, { ...CONFIG, numIterations: 3 });
  expect(result).toMatchObject({ finalOutput: `${LONG}?`, metadata: { lengths: [28, 27, LONG.length + 1] } });
  expect(calls()).toBe(2 * 3 - 1);
  expect(result.agentInteractions[2]).toMatchObject({ stage: "shorten", output: TEXTS[0] });
  expect(result.agentInteractions[2]?.input).toContain(`about 28 characters.\n\n<text>\n${LONG}\n</text>`);
  expect(result.agentInteractions[3]?.input).toContain(`<text>\n${TEXTS[0]}\n</text>`);
});

test("without preserveLength texts may grow", async () => {
  const { run, calls } = await patternSite({ writer: [FIRST, denser(LONG, "moon")] });
  const result = await run(chainOfDensity, { ...CONFIG, numIterations: 2, preserveLength: false });
  expect(result).toMatchObject({ finalOutput: LONG, metadata: { lengths: [28, LONG.length] } });
  expect(calls()).toBe(2);
  expect(result.agentInteractions[1]?.input).not.toContain("characters");
});

test.each(["entities", "details", "examples"])(
  "densityIncrement %s is what is asked for",
  async (densityIncrement) => {
    const { run } = await patternSite({ writer: [FIRST, ...DENSER] });
    const result = await run(chainOfDensity, { ...CONFIG, numIterations: 2, densityIncrement });
    const [first, second] = result.agentInteractions.map(({ input }) => input);
    expect(first).toContain(` few ${densityIncrement} (`);
    expect(second).toContain(`missing from the text: ${densityIncrement} (`);
  },
);

test("more than three missing things are repaired, not taken", async () => {
  const { run } = await patternSite({
    writer: [FIRST, denser("all", "a", "b", "c", "d"), denser("three", "a", "b", "c")],
  });
  const result = await run(chainOfDensity, { ...CONFIG, numIterations: 2 });
  expect(result.metadata.added).toEqual([["a", "b", "c"]]);
});

test("a failing generator fails the run with the error of its call", async () => {
  const { run } = await patternSite({ writer: [FIRST, { error: "400" }] });
  await expect(run(chainOfDensity, CONFIG)).rejects.toMatchObject({ code: "invalid_request" });
});

killTest(
  chainOfDensity,
  "a killed worker: the run goes on at the text it had come to, and pays for none twice",
  async () => {
    // Slow enough that the kill falls into the run.
    const writer = [{ reply: FIRST }, ...DENSER].map((turn) => ({ ...turn, latencyMs: 100 }));
    const { survivesAKill, calls } = await patternSite({ writer });
    const result = await survivesAKill(chainOfDensity, { ...CONFIG, numIterations: 4 }, 4);
    expect(calls()).toBeLessThanOrEqual(4 + 1);
    expect(result.finalOutput).toBe(TEXTS[2]);
  },
);

test.each([
  ["no generator", { generator: undefined }, /wrong at generator/],
  ["no texts", { numIterations: 0 }, /wrong at numIterations/],
  ["more texts than can be meant", { numIterations: 51 }, /wrong at numIterations/],
  ["an unknown increment", { densityIncrement: "words" }, /wrong at densityIncrement/],
  ["a length for preserveLength", { preserveLength: 80 }, /wrong at preserveLength/],
  ["an unknown option", { iterations: 3 }, /iterations/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(chainOfDensity, { ...CONFIG, ...config })).rejects.toThrow(message);
});
