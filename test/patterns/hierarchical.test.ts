import { expect, test } from "vitest";
import { hierarchical } from "../../src/index.ts";
import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";
import { killTest, patternSite, startWithoutRedis } from "../support/pattern-site.ts";
import { slowScript } from "../support/slow-script.ts";

const manager = { name: "manager", model: "simulator:manager" };
const workers = ["cook", "host"].map((name) => ({
  name,
  description: `Works as ${name}.`,
  model: `simulator:${name}`,
}));
const config = { input: "Give a dinner.", manager, workers };

const PLAN = [
  { worker: "cook", task: "Choose a menu." },
  { worker: "host", task: "Invite guests." },
  { worker: "cook", task: "Buy the food." },
];
const planned = (subtasks: readonly object[] = PLAN): ScriptedAnswer => ({ json: { subtasks } });

/** A worker answers `<its name>: <its subtask>`; the manager plans, and puts together. */
function script(
  plan: ScriptedAnswer = planned(),
  others: Record<string, (call: Call) => ScriptedAnswer | string> = {},
) {
  const prompts: Record<string, string[]> = { manager: [], cook: [], host: [] };
  const answer = (name: string) => (call: Call) => {
    prompts[name]?.push(call.lastUserText);
    if (call.answerSchema) return plan;
    const [, subtask] = /<subtask>\n(.*)\n/.exec(call.lastUserText) ?? [];
    return subtask ? `${name}: ${subtask}` : "the whole evening";
  };
  const names = ["manager", "cook", "host"];
  return { prompts, models: { ...Object.fromEntries(names.map((name) => [name, answer(name)])), ...others } };
}

test("summarize: the manager plans, workers do their subtasks side by side, the manager answers", async () => {
  const { prompts, models } = script();
  const { run, calls } = await patternSite(models);
  const result = await run(hierarchical, config);
  expect(result).toMatchObject({
    finalOutput: "the whole evening",
    iterations: 3,
    metadata: { stopReason: "complete", subtasks: PLAN.map((subtask) => ({ ...subtask, isDone: true })) },
  });
  expect(result.agentInteractions.map(({ stage, agent }) => `${stage} ${agent}`)).toEqual([
    "plan manager",
    "work cook",
    "work host",
    "work cook",
    "summarize manager",
  ]);
  expect(calls()).toBe(2 + 3);
  const [plan, synthesis] = prompts.manager ?? [];
  expect(plan).toContain("at most 5 subtasks");
  expect(plan).toContain("<workers>\ncook: Works as cook.\nhost: Works as host.\n</workers>");
  for (const { worker, task } of PLAN) expect(synthesis).toContain(`Subtask: ${task}\n\n${worker}: ${task}`);
  expect(synthesis).not.toContain("<failed-subtasks>");
  expect(prompts.cook?.join()).not.toContain("<result>");
});

test("merge: the manager joins the results in full", async () => {
  const { prompts, models } = script();
  const { run, calls } = await patternSite(models);
  const result = await run(hierarchical, { ...config, synthesisStrategy: "merge" });
  expect(result.agentInteractions.at(-1)).toMatchObject({ stage: "merge", output: "the whole evening" });
  expect(prompts.manager?.at(-1)).toContain("Keep every detail");
  expect(calls()).toBe(2 + 3);
});

test("concatenate: the results stand under their subtasks, without a further call", async () => {
  const { run, calls } = await patternSite(script().models);
  const result = await run(hierarchical, { ...config, synthesisStrategy: "concatenate" });
  expect(result.finalOutput).toBe(
    "## Choose a menu.\n\ncook: Choose a menu.\n\n## Invite guests.\n\nhost: Invite guests.\n\n## Buy the food.\n\ncook: Buy the food.",
  );
  expect(calls()).toBe(1 + 3);
});

test("in turn: each worker sees the results before its subtask", async () => {
  const { prompts, models } = script();
  const { run, calls } = await patternSite(models);
  await run(hierarchical, { ...config, parallelWorkers: false });
  expect(prompts.cook?.[0]).not.toContain("<result>");
  expect(prompts.host?.[0]).toContain("cook: Choose a menu.");
  expect(prompts.cook?.[1]).toContain("cook: Choose a menu.");
  expect(prompts.cook?.[1]).toContain("host: Invite guests.");
  expect(prompts.manager?.[0]).toContain("in your order");
  expect(calls()).toBe(2 + 3);
});

test.each([
  ["a worker that is not there", planned([{ worker: "butler", task: "Serve." }])],
  ["too many subtasks", planned([...PLAN, ...PLAN])],
  ["no subtasks", planned([])],
])("a plan with %s goes back to the manager; one that stays so fails the run", async (_what, wrong) => {
  const mended = script(undefined, {
    manager: (call) => {
      if (!call.answerSchema) return "the end";
      return call.turn === 0 ? wrong : planned([{ worker: "host", task: "Serve." }]);
    },
  });
  const { run, calls } = await patternSite(mended.models);
  const result = await run(hierarchical, config);
  expect(result.metadata.subtasks).toEqual([{ worker: "host", task: "Serve.", isDone: true }]);
  expect(calls("manager")).toBe(3);
  const stubborn = await patternSite(script(wrong).models);
  await expect(stubborn.run(hierarchical, config)).rejects.toMatchObject({ name: "StructuredOutputError" });
  expect(stubborn.calls("cook") + stubborn.calls("host")).toBe(0);
});

test.each([true, false])(
  "skip, parallelWorkers %s: the manager is told what is missing",
  async (parallelWorkers) => {
    const { prompts, models } = script(planned(), { cook: () => ({ error: "400" }) });
    const { run, calls } = await patternSite(models);
    const result = await run(hierarchical, { ...config, parallelWorkers, onAgentError: "skip" });
    expect(result.metadata).toMatchObject({
      stopReason: "partial",
      subtasks: [{ isDone: false }, { isDone: true }, { isDone: false }],
    });
    expect(prompts.manager?.at(-1)).toContain(
      "<failed-subtasks>\nChoose a menu.\nBuy the food.\n</failed-subtasks>",
    );
    expect(calls()).toBe(2 + 3);
  },
);

test.each([
  ["fail, in turn: nothing is asked after the first error", { parallelWorkers: false }, 2],
  ["fail, side by side", {}, undefined],
  ["skip: when all of them fail", { parallelWorkers: false, onAgentError: "skip" }, 4],
])("%s: the run fails with the worker's error", async (_what, options, expected) => {
  const broken = (): ScriptedAnswer => ({ error: "400" });
  const { run, calls } = await patternSite(script(planned(), { cook: broken, host: broken }).models);
  await expect(run(hierarchical, { ...config, ...options })).rejects.toMatchObject({
    code: "invalid_request",
  });
  if (expected) expect(calls()).toBe(expected);
});

killTest(hierarchical, "a killed worker: the run goes on at the subtask it had come to", async () => {
  const { survivesAKill, calls } = await patternSite(slowScript(script().models));
  const result = await survivesAKill(hierarchical, { ...config, parallelWorkers: false }, 5);
  expect(calls()).toBeLessThanOrEqual(5 + 1);
  expect(result.finalOutput).toBe("the whole evening");
});

test.each([
  ["no workers", { workers: [] }, /wrong at workers: must have at least one/],
  ["two of one name", { workers: [workers[0], workers[0]] }, /wrong at workers.1.name: is the name of an/],
  ["no subtasks", { maxSubtasks: 0 }, /wrong at maxSubtasks/],
  ["an unknown synthesis", { synthesisStrategy: "vote" }, /wrong at synthesisStrategy/],
  ["no manager", { manager: undefined }, /wrong at manager/],
])("%s: refused at start with the field's name", async (_what, options, message) => {
  await expect(startWithoutRedis(hierarchical, { ...config, ...options })).rejects.toThrow(message);
});
