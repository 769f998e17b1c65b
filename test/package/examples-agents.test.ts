import { expect, inject, test } from "vitest";
import { bareMachine } from "../support/bare-machine.ts";
import { AGENT_EXAMPLES, exampleSite } from "../support/examples.ts";

const { dataDir, ran, run } = exampleSite();

test("the example of tools runs them, tells the model of a failure and leaves calls to the caller", {
  tags: "long",
}, async () => {
  const { env } = await bareMachine(dataDir);
  const output = await run("tools", env);
  expect(output).toEqual([
    "answer: 12 apples; we have no plums.",
    'count_stock {"article":"apples"} → {"article":"apples","count":12}',
    'count_stock {"article":"plums"} → tool_failed: we do not sell plums',
    "left to me: tool_calls, run by the worker: 0",
    "clerk made 2 calls",
  ]);
});

test("the example of MCP has an agent read and write files by a server of a package", {
  tags: "long",
}, async () => {
  const { env } = await bareMachine(dataDir);
  const output = await run("mcp", env);
  expect(output.slice(1)).toEqual(
    expect.arrayContaining(["read_text_file: article,count", "read_text_file: tool_failed"]),
  );
  expect(output.at(-1)).toBe("report: 15 pieces of fruit");
});

test("the support desk hands over, asks a person, lets an agent write, and has guardrails in shadow", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  const output = await run("support-desk", env);
  expect(output).toEqual([
    'suspended: refund {"order":"A-7","usd":80}?',
    "handoff_to_billing: The conversation was handed over to billing.",
    'find_order: {"order":"A-7","usd":80,"state":"lost in the post"}',
    "refund: 80 USD for A-7 are on their way (approved by grace)",
    "ask_writer: Dear Ada, your money is on its way.",
    "pii: rewrite",
    "short: block in shadow",
    "billing: Dear Ada, your money is on its way.",
  ]);
  const asked = simulator.journal.entries().map(({ lastUserText }) => lastUserText);
  expect(asked).toHaveLength(6);
  expect(asked.filter((text) => text.startsWith("I am [EMAIL]."))).toHaveLength(5);
});

test("the example of agents asks them alone, in a conversation and one after the other", async () => {
  const { simulator, env } = await bareMachine(dataDir);
  expect(await run("agents", env)).toEqual([
    "librarian: 4 messages",
    "reviewed: stop, 0 calls of tools",
    expect.stringMatching(/^brief: (stop|length), 0 calls of tools$/),
    "anybody: stop, 0 calls of tools",
  ]);
  const tools = simulator.journal.entries().map(({ toolNames }) => toolNames.length);
  expect(tools).toEqual([1, 1, 1, 0, 0, 1]);
});

test.skipIf(inject("isGate"))("every example of agents and their tools was run", () => {
  expect([...ran].sort()).toEqual(AGENT_EXAMPLES);
});
