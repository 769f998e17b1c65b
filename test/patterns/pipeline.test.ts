import { expect, test } from "vitest";
import { Agent, pipeline } from "../../src/index.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";

const STAGES = ["outline", "draft", "edit"];
const SCRIPT = { outline: "an outline", draft: "a draft", edit: "the end" };

function stages() {
  return STAGES.map((name) => ({
    name,
    agent: new Agent({
      name: `${name}er`,
      description: `Writes the ${name}.`,
      systemPrompt: "You write.",
      model: `simulator:${name}`,
    }),
  }));
}

test("each stage works on what the one before wrote; one call per stage", async () => {
  const { run, calls, prompts } = await patternSite(SCRIPT);
  const result = await run(pipeline, { input: "Write about tides.", stages: stages() });
  expect(result).toMatchObject({ finalOutput: "the end", iterations: 3, metadata: { stages: STAGES } });
  expect(result.agentInteractions).toMatchObject([
    { stage: "outline", agent: "outlineer", input: "Write about tides.", output: "an outline" },
    { stage: "draft", agent: "drafter", input: "an outline", output: "a draft" },
    { stage: "edit", agent: "editer", input: "a draft", output: "the end" },
  ]);
  expect(result.agentInteractions.every(({ tokens }) => tokens.total > 0)).toBe(true);
  expect(prompts("edit")).toEqual(["a draft"]);
  expect(calls()).toBe(3);
});

test("a failing stage fails the run with the error of its call", async () => {
  const { run } = await patternSite({ ...SCRIPT, draft: { error: "400" } });
  await expect(run(pipeline, { input: "go", stages: stages() })).rejects.toMatchObject({
    code: "invalid_request",
  });
});

killTest(
  pipeline,
  "a killed worker: the run goes on at the stage it had come to, and pays for none twice",
  async () => {
    const { survivesAKill } = await patternSite(SCRIPT);
    const result = await survivesAKill(pipeline, { input: "go", stages: stages() }, 3);
    expect(result.finalOutput).toBe("the end");
  },
);

test.each([
  ["no stages", { stages: [] }, /wrong at stages: must have at least one stage/],
  ["an empty input", { input: "", stages: stages() }, /wrong at input: must not be empty/],
  [
    "two stages of one name",
    { stages: [stages()[0], stages()[0]] },
    /wrong at stages.1.name: is the name of an earlier/,
  ],
  ["an unknown option", { stages: stages(), colour: "red" }, /colour/],
])("%s: refused at start with the field's name", async (_what, config, message) => {
  await expect(startWithoutRedis(pipeline, { input: "go", ...config })).rejects.toThrow(message);
});
