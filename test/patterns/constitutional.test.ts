import { expect, test } from "vitest";
import { constitutional } from "../../src/index.ts";
import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";
import { slowScript } from "../support/slow-script.ts";

const who = (name: string) => ({ name, model: `simulator:${name}` });
const principle = (name: string, severity?: string) => ({ name, description: `Be ${name}.`, severity });
const PRINCIPLES = [principle("kind", "critical"), principle("true"), principle("short", "warning")];
const config = {
  input: "Answer the customer.",
  generator: who("writer"),
  critic: who("critic"),
  principles: PRINCIPLES,
};

type Verdicts = Record<string, boolean | "error">;

/** The versions are `text 1`, `text 2`, …; what the critic says of each principle is told per version, then the last again. */
function script(...versions: Verdicts[]) {
  const prompts: string[] = [];
  const versionOf = (call: Call) => Number(/text (\d)/.exec(call.lastUserText)?.[1] ?? 0);
  const models = {
    writer: (call: Call): string => {
      prompts.push(call.lastUserText);
      return `text ${versionOf(call) + 1}`;
    },
    critic: (call: Call): ScriptedAnswer => {
      const [, name = ""] = /<principle>\n(\w+):/.exec(call.lastUserText) ?? [];
      const passes = versions[Math.min(versionOf(call), versions.length) - 1]?.[name] ?? true;
      if (passes === "error") return { error: "400" };
      const suggestion = passes ? "" : `be more ${name}`;
      return { json: { explanation: `so ${name}`, passes, suggestion } };
    },
  };
  return { prompts, models };
}

test("a text that keeps to all principles is the output: one check per principle", async () => {
  const { prompts, models } = script({});
  const { run, calls } = await patternSite(models);
  const result = await run(constitutional, config);
  expect(result).toMatchObject({
    finalOutput: "text 1",
    iterations: 1,
    metadata: { stopReason: "passed", passed: true, revisions: 0 },
  });
  expect(result.metadata.rounds).toEqual([
    PRINCIPLES.map(({ name, severity = "error" }) => ({
      name,
      severity,
      passes: true,
      explanation: `so ${name}`,
    })),
  ]);
  expect(prompts).toEqual([config.input]);
  expect(result.agentInteractions.map(({ stage }) => stage)).toEqual(["write", "check", "check", "check"]);
  expect(calls()).toBe(1 + 3);
});

test("a broken principle: revised with what the checks say, and checked against all of them again", async () => {
  const { prompts, models } = script({ kind: false, short: false }, { true: false }, {});
  const { run, calls } = await patternSite(models);
  const result = await run(constitutional, config);
  expect(result).toMatchObject({
    finalOutput: "text 3",
    iterations: 3,
    metadata: { stopReason: "passed", revisions: 2 },
  });
  expect(prompts).toHaveLength(3);
  expect(prompts[1]).toContain("<text>\ntext 1\n</text>");
  expect(prompts[1]).toContain("<broken>\nkind (critical)\nso kind\nbe more kind\n</broken>");
  expect(prompts[1]).toContain("<broken>\nshort (warning)");
  expect(prompts[1]).not.toContain("<broken>\ntrue");
  expect(prompts[2]).toContain("<broken>\ntrue (error)");
  expect(calls()).toBe(1 + 3 + (1 + 3) * 2);
});

test.each([
  ["a broken warning asks for revisions", { short: false }, {}, "max_revisions", 3],
  ["not without requireAllPass", { short: false }, { requireAllPass: false }, "acceptable", 0],
  [
    "a broken error does so in any case, and is put out at last",
    { true: false },
    { requireAllPass: false },
    "max_revisions",
    3,
  ],
  ["without revisions the text is only checked", { true: false }, { maxRevisions: 0 }, "max_revisions", 0],
])("%s", async (_what, verdicts, options, stopReason, revisions) => {
  const { run, calls } = await patternSite(script(verdicts).models);
  const result = await run(constitutional, { ...config, ...options });
  expect(result).toMatchObject({
    finalOutput: `text ${revisions + 1}`,
    metadata: { stopReason, passed: false, revisions },
  });
  expect(calls()).toBe(1 + 3 + (1 + 3) * revisions);
});

test("a text that breaks a critical principle to the end is never put out", async () => {
  const { run, calls } = await patternSite(script({ kind: false, true: false }).models);
  await expect(run(constitutional, { ...config, maxRevisions: 1 })).rejects.toMatchObject({
    name: "WorkflowError",
    code: "principle_broken",
    message: 'the text is not put out: the critical principle "kind" is broken',
  });
  expect(calls()).toBe(1 + 3 + (1 + 3));
});

test("a check that fails: the run does too, or with skip its principle is unchecked", async () => {
  const failing = await patternSite(script({ true: "error" }).models);
  await expect(failing.run(constitutional, config)).rejects.toMatchObject({ code: "invalid_request" });

  const skipping = await patternSite(script({ true: "error" }).models);
  const result = await skipping.run(constitutional, { ...config, onAgentError: "skip" });
  expect(result.metadata).toMatchObject({
    stopReason: "acceptable",
    passed: false,
    rounds: [[{ passes: true }, { name: "true", passes: null }, { passes: true }]],
  });

  const critical = await patternSite(script({ kind: "error" }).models);
  await expect(critical.run(constitutional, { ...config, onAgentError: "skip" })).rejects.toMatchObject({
    message: 'the text is not put out: the critical principle "kind" was not checked',
  });
});

test("without a critic the generator checks its own text", async () => {
  const { models } = script({});
  const writer = (call: Call) => (call.answerSchema ? models.critic(call) : models.writer(call));
  const { run, calls } = await patternSite({ writer });
  const result = await run(constitutional, { ...config, critic: undefined });
  expect(result.finalOutput).toBe("text 1");
  expect(calls("writer")).toBe(1 + 3);
});

killTest(constitutional, "a killed worker: the run goes on at the revision it had come to", async () => {
  const { survivesAKill, calls } = await patternSite(slowScript(script({ true: false }, {}).models));
  const result = await survivesAKill(constitutional, config, 8);
  expect(result).toMatchObject({ finalOutput: "text 2", metadata: { stopReason: "passed" } });
  expect(calls()).toBeLessThanOrEqual(8 + 3);
});

test.each([
  ["no principles", { principles: [] }, /wrong at principles: must have at least one/],
  ["one without a name", { principles: [principle(" ")] }, /wrong at principles.0.name: must not be empty/],
  [
    "one without words",
    { principles: [{ name: "kind", description: "" }] },
    /wrong at principles.0.description: must not be empty/,
  ],
  [
    "two of one name",
    { principles: [principle("kind"), principle("kind")] },
    /wrong at principles.1.name: is the name of an earlier/,
  ],
  ["an unknown severity", { principles: [principle("kind", "fatal")] }, /wrong at principles.0.severity/],
  ["revisions below 0", { maxRevisions: -1 }, /wrong at maxRevisions/],
])("%s: refused at start with the field's name", async (_what, options, message) => {
  await expect(startWithoutRedis(constitutional, { ...config, ...options })).rejects.toThrow(message);
});
