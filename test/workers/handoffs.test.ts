import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { Agent, AgentExecutor, defineTool, type GlueLLM, SystemPrompt } from "../../src/index.ts";
import { storeOf } from "../../src/store/store.ts";
import { testRedis, testRing } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const look = defineTool({
  name: "look_up",
  description: "Looks up a bill.",
  parameters: z.object({ bill: z.string() }),
  execute: ({ bill }) => `bill ${bill}: 20 USD`,
});
const triage = new Agent({ name: "triage", description: "Sorts.", systemPrompt: "You sort requests." });
const billing = new Agent({
  name: "billing",
  description: "Knows bills.",
  systemPrompt: new SystemPrompt({ instructions: "You know bills." }),
  tools: [look],
  model: "simulator:bills",
});
triage.handoff(billing);
billing.handoff(triage);
const redis = testRedis();
let site: TestSite;
let glue: GlueLLM;

beforeAll(async () => {
  site = await TestSite.open();
  glue = openClient(site, { mode: "local" });
});
afterAll(async () => {
  await glue.close();
  await site[Symbol.asyncDispose]();
  redis.disconnect();
});

const call = (name: string, args: object = {}) => ({ name, arguments: args });
const script = (turns: object[]) => `#sim ${JSON.stringify({ turns })}`;
const entriesOf = (start: string) =>
  site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(start));

test("a handoff switches prompt, tools and model within the job", async () => {
  const asked = script([
    { toolCalls: [call("handoff_to_billing", { reason: "a bill" })] },
    { toolCalls: [call("look_up", { bill: "7" })] },
    { reply: "20 USD" },
  ]);
  const result = await new AgentExecutor(glue, triage).execute(`How much is bill 7?\n${asked}`);
  expect(result).toMatchObject({ finalResponse: "20 USD", agent: "billing", model: "simulator:bills" });
  expect(result.toolExecutionHistory).toMatchObject([
    { toolName: "handoff_to_billing", result: "The conversation was handed over to billing." },
    { toolName: "look_up", result: "bill 7: 20 USD" },
  ]);
  const calls = entriesOf("How much is bill 7?");
  expect(calls.map(({ model }) => model)).toEqual(["test", "bills", "bills"]);
});

test("an answer hands over once, and agents may hand back; an agent has its tools only", async () => {
  const asked = script([
    { toolCalls: [call("look_up", { bill: "8" }), call("handoff_to_billing"), call("handoff_to_billing")] },
    { toolCalls: [call("handoff_to_triage")] },
    { reply: "sorted" },
  ]);
  const result = await glue.complete(`Back and forth\n${asked}`, { agent: triage });
  expect(result).toMatchObject({ finalResponse: "sorted", agent: "triage", model: "simulator:test" });
  expect(result.toolExecutionHistory.map(({ error }) => error?.code)).toEqual([
    "unknown_tool",
    undefined,
    "handed_over",
    undefined,
  ]);
});

test("agents that hand over without end come to one", async () => {
  const names = ["handoff_to_billing", "handoff_to_triage"];
  const turns = Array.from({ length: 40 }, (_, i) => ({ toolCalls: [call(names[i % 2] ?? "")] }));
  const { toolExecutionHistory } = await glue.complete(`Ping\n${script([...turns, { reply: "end" }])}`, {
    agent: triage,
  });
  expect(toolExecutionHistory.filter(({ error }) => !error)).toHaveLength(20);
});

test("an agent's tool is a job of its own, for which the calling job sleeps", async () => {
  const inner = script([{ toolCalls: [call("look_up", { bill: "9" })] }, { reply: "it is 20 USD" }]);
  const asked = script([
    { toolCalls: [call("ask_billing", { input: `inner 9\n${inner}` })] },
    { reply: "20" },
  ]);
  const tool = billing.asTool({ name: "ask_billing" });
  const result = await glue.complete(`Ask billing\n${asked}`, { tools: [tool] });
  expect(result.toolExecutionHistory).toMatchObject([{ toolName: "ask_billing", result: "it is 20 USD" }]);
  expect(entriesOf("inner 9")).toHaveLength(2);
  expect(entriesOf("Ask billing")).toHaveLength(2);
  const store = storeOf(redis, site.namespace, testRing());
  await waitFor(
    "its waits to be forgotten",
    async () => !(await redis.exists(store.keys.waits(result.jobId))),
  );
});

test("what the agent behind a tool fails with is told to the model", async () => {
  const asked = script([
    { toolCalls: [call("billing", { input: '#sim {"error":"400"}' })] },
    { reply: "sorry" },
  ]);
  const result = await glue.complete(`Fails\n${asked}`, { tools: [billing.asTool()] });
  expect(result.toolExecutionHistory).toMatchObject([
    { error: { code: "agent_failed", message: expect.stringContaining("invalid_request") } },
  ]);
});

test("a conversation goes on with the agent that the caller names", async () => {
  const conversation = glue.conversation();
  const asked = script([{ toolCalls: [call("handoff_to_billing")] }, { reply: "bills here" }]);
  const first = await conversation.complete(`Memory\n${asked}`, { agent: triage });
  expect(first.agent).toBe("billing");
  const second = await conversation.complete('Next\n#sim {"reply":"still here"}', { agent: billing });
  expect(second).toMatchObject({ finalResponse: "still here", agent: "billing" });
  expect((await conversation.messages()).map(({ role }) => role)).toEqual([
    ...["user", "assistant", "tool", "assistant"],
    ...["user", "assistant"],
  ]);
});
