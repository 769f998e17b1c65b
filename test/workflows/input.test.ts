import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { inputFields, inputShape } from "../../src/cli/input-shape.ts";
import { parseJson, readWorkflowInput, withAgents } from "../../src/cli/workflow-input.ts";
import { Agent, defineWorkflow, pipeline } from "../../src/index.ts";
import { agentSpecSchema } from "../../src/shared/agent.ts";
import type { AnyWorkflow } from "../../src/workflows/workflow.ts";
import { add } from "../support/tools.ts";

const alice = new Agent({ name: "alice", description: "A.", systemPrompt: "Add.", tools: [add] });
const AGENTS = new Map([["alice", alice]]);

function taking(input: z.ZodType): AnyWorkflow {
  return defineWorkflow({ name: "any", input, output: z.any(), run: async () => null });
}

function file(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "gluellm-input-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "file"), text);
  return join(folder, "file");
}

test("the input joins the config's options; alone it is the field of an object, or the whole", () => {
  const fields = taking(z.object({ input: z.string(), n: z.number() }));
  expect(readWorkflowInput(fields, { input: "x", config: file('{"n": 1}') })).toEqual({ input: "x", n: 1 });
  expect(readWorkflowInput(fields, { config: file('{"input": "y", "n": 1}') })).toEqual({ input: "y", n: 1 });
  expect(readWorkflowInput(fields, { inputFile: file("x\n") })).toEqual({ input: "x" });
  expect(readWorkflowInput(fields, {})).toEqual({});
  expect(readWorkflowInput(taking(z.string()), { input: "x" })).toBe("x");
  expect(readWorkflowInput(taking(z.array(z.number())), { config: file("[1]") })).toEqual([1]);
});

test("files that cannot be read, or hold no JSON, are named", () => {
  const read = (options: object) => () => readWorkflowInput(pipeline, options);
  expect(read({ config: "/none.json" })).toThrow("the config file /none.json cannot be read: ENOENT");
  expect(read({ inputFile: "/none.txt" })).toThrow("the input file /none.txt cannot be read: ENOENT");
  expect(read({ config: file("{") })).toThrow(/the config file .* is not JSON/);
  expect(read({ input: "x", config: file("[]") })).toThrow("is no JSON object");
  expect(() => parseJson("{", "the signal")).toThrow("the signal is not JSON");
});

test("agents by name are found wherever the input has agents, and nowhere else", () => {
  const workflow = taking(
    z.object({
      lead: agentSpecSchema.optional().describe("leads"),
      all: z.array(z.object({ agent: agentSpecSchema.describe("does it"), note: z.string() })),
      byRole: z.record(z.string(), agentSpecSchema),
      either: z.union([agentSpecSchema, z.null()]),
      pair: z.tuple([z.string(), agentSpecSchema]),
    }),
  );
  const note = { note: "alice" };
  const given = { lead: "alice", all: [{ agent: "alice", ...note }], byRole: { a: "alice" }, either: null };
  const spec = alice.toJSON();
  expect(withAgents(workflow, { ...given, pair: ["alice", "alice"] }, AGENTS)).toEqual({
    lead: spec,
    all: [{ agent: spec, ...note }],
    byRole: { a: spec },
    either: null,
    pair: ["alice", spec],
  });
  expect(spec.tools).toEqual(["add"]);
});

test("an agent that no module has is an error with its field", () => {
  const stages = [{ name: "a", agent: "bob" }];
  expect(() => withAgents(pipeline, { input: "x", stages }, AGENTS)).toThrow(
    'the input of workflow "pipeline" is wrong at stages.0.agent: no agent "bob"',
  );
});

test("fields are told with type, default and description, those of lists and objects too", () => {
  const schema = z.object({
    agents: z.array(agentSpecSchema).describe("who"),
    mode: z.enum(["a", "b"]).default("a"),
    limits: z.object({ rounds: z.int().min(1).optional() }),
    any: z.custom<Date>(),
  });
  const fields = inputFields(inputShape(schema)).map(({ name, type, isRequired }) => [
    name,
    type,
    isRequired,
  ]);
  expect(fields).toEqual([
    ["agents", "list of agent", true],
    ["mode", "a | b", false],
    ["limits", "object", true],
    ["limits.rounds", "integer", false],
    ["any", "any", true],
  ]);
  expect(inputFields(inputShape(schema))[1]).toMatchObject({ default: "a", description: "" });
});
