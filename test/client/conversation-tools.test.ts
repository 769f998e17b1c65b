import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { Agent, AgentExecutor, type Conversation, SystemPrompt } from "../../src/index.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { script } from "../support/talk.ts";
import { add, others } from "../support/tools.ts";
import { sendJson, type WireServer, wireServer } from "../support/wire-server.ts";

const MODULE = join(import.meta.dirname, "../support/tools.ts");
const MODELS = { openai: "simulator:test", anthropic: "claude-like:test" } as const;

type Body = {
  messages: Record<string, unknown>[];
  tools?: unknown[];
  tool_choice?: unknown;
  system?: unknown;
};

/** A fleet whose requests are kept on their way to the simulator, which both dialects reach. */
let site: TestSite;
let wire: WireServer;
const parts = new AsyncDisposableStack();
beforeAll(async () => {
  wire = await wireServer(
    async (response, { path, body }) => {
      const headers = { "content-type": "application/json" };
      const answer = await fetch(`${site.simulator.url}${path}`, { method: "POST", headers, body });
      sendJson(response, await answer.text(), answer.status);
    },
    (close) => parts.defer(close),
  );
  const added = { "claude-like": { dialect: "anthropic", baseUrl: wire.url, keyOptional: true } };
  const env = { SIMULATOR_BASE_URL: `${wire.url}/v1`, GLUELLM_PROVIDERS: JSON.stringify(added) };
  site = parts.use(await TestSite.open({}, env));
  site.start("worker", "--module", MODULE);
});
beforeEach(() => {
  wire.requests.length = 0;
});
afterAll(() => parts.disposeAsync());

const lastBody = () => JSON.parse(wire.requests.at(-1)?.body ?? "") as Body;

/** What OpenAI checks of a history: each call has its result right behind it. */
function checkOpenAI({ messages, tools }: Body): void {
  for (const [i, message] of messages.entries()) {
    const calls = (message.tool_calls ?? []) as { id: string }[];
    const results = messages.slice(i + 1, i + 1 + calls.length);
    expect(results.map(({ tool_call_id }) => tool_call_id)).toEqual(calls.map(({ id }) => id));
    if (calls.length > 0) expect(tools).not.toHaveLength(0);
    if (message.role === "assistant" && calls.length === 0) expect(message.content).toMatch(/\S/);
  }
  const results = messages.filter(({ role }) => role === "tool").length;
  expect(results).toBe(messages.flatMap(({ tool_calls }) => tool_calls ?? []).length);
}

/** What Anthropic checks: roles take turns, and each use has its result in the next message. */
function checkAnthropic({ messages, tools }: Body): void {
  const idsOf = (i: number, type: string, field: string) =>
    ((messages[i]?.content ?? []) as Record<string, unknown>[])
      .filter((block) => block.type === type)
      .map((block) => block[field]);
  for (const [i, { role }] of messages.entries()) {
    expect(role).toBe(i % 2 === 0 ? "user" : "assistant");
    const uses = idsOf(i, "tool_use", "id");
    expect(idsOf(i + 1, "tool_result", "tool_use_id")).toEqual(uses);
    if (uses.length > 0) expect(tools).not.toHaveLength(0);
  }
}

const CALL = { toolCalls: [{ name: "add", arguments: { a: 1, b: 2 } }] };
const BROKEN = { toolCalls: [{ name: "add", arguments: "{broken" }] };

const trace = async (conversation: Conversation) =>
  (await conversation.messages()).map(({ role, content, toolCalls }) =>
    [role, toolCalls.map(({ name }) => name).join() || String(content).split("\n")[0]].join(": "),
  );

test.each(["openai", "anthropic"] as const)(
  "the history carries tool calls and results that the %s dialect takes",
  async (dialect) => {
    const glue = siteClient(site, { model: MODELS[dialect], tools: [add, ...others] });
    const conversation = glue.conversation();
    await conversation.complete(script("add them", CALL, { reply: "It is 3." }));
    await conversation.complete(script("left to me", CALL), { executeTools: false });
    await conversation.complete(
      script("never mind", { toolCalls: [{ name: "fail" }] }, { reply: "It failed." }),
    );
    await conversation.complete(script("without tools", { reply: "Fine." }), { tools: [] });
    expect(await trace(conversation)).toEqual([
      "user: add them",
      "assistant: add",
      "tool: 3",
      "assistant: It is 3.",
      "user: left to me",
      "assistant: add",
      "user: never mind",
      "assistant: fail",
      "tool: Error: RangeError: the shelf is empty",
      "assistant: It failed.",
      "user: without tools",
      "assistant: Fine.",
    ]);
    const bodies = wire.requests.map(({ body }) => JSON.parse(body) as Body);
    expect(bodies).toHaveLength(6);
    for (const body of bodies) (dialect === "openai" ? checkOpenAI : checkAnthropic)(body);
    expect(JSON.stringify(bodies.at(-1)?.tool_choice)).toContain("none");
    expect(JSON.stringify(bodies.at(-1)?.messages)).toContain("This call was not run.");
  },
);

test("a structured answer is kept as its JSON, whatever way the provider was asked for it", async () => {
  const schema = z.object({ city: z.string() });
  for (const outputMode of ["native", "tool", "prompt"] as const) {
    const conversation = siteClient(site).conversation();
    const answer = await conversation.structuredComplete(script("a city", { json: { city: "Ghent" } }), {
      schema,
      outputMode,
    });
    await conversation.complete(script("and then", { reply: "Fine." }));
    const { messages } = lastBody();
    checkOpenAI(lastBody());
    expect(messages).toHaveLength(3);
    expect(messages[1]).toEqual({ role: "assistant", content: JSON.stringify(answer) });
  }
});

test("the caller's own results answer the calls that were left to it", async () => {
  const conversation = siteClient(site, { tools: [add] }).conversation();
  const { rawResponse } = await conversation.complete(script("left to me", CALL, { reply: "So 3." }), {
    executeTools: false,
  });
  const calls = rawResponse.choices[0]?.message.tool_calls as { id: string }[] | undefined;
  const result = { role: "tool" as const, tool_call_id: calls?.[0]?.id ?? "", content: "3" };
  expect((await conversation.complete([result])).finalResponse).toBe("So 3.");
  const last = lastBody();
  checkOpenAI(last);
  expect(last.messages.at(-1)).toMatchObject(result);
});

test("a conversation moves to another dialect, broken arguments of its history included", async () => {
  const conversation = siteClient(site, { tools: [add] }).conversation();
  await conversation.complete(script("broken", BROKEN), { executeTools: false });
  await conversation.complete(script("elsewhere", { reply: "Fine." }), { model: MODELS.anthropic });
  checkAnthropic(lastBody());
});

test("an agent's prompt names its tools; the conversation's next call knows them again", async () => {
  const agent = new Agent({
    name: "adder",
    description: "Adds.",
    systemPrompt: new SystemPrompt({ instructions: "Use your tools." }),
    tools: [add],
    maxToolIterations: 1,
  });
  const executor = new AgentExecutor(siteClient(site).conversation(), agent);
  const { toolCallsMade } = await executor.execute(script("one", CALL, { reply: "3" }));
  await executor.execute(script("two", { reply: "4" }));
  expect(toolCallsMade).toBe(1);
  const last = lastBody();
  expect(last.messages.map(({ role }) => role).join(" ")).toBe("system user assistant tool assistant user");
  expect(last.messages[0]?.content).toBe(
    '<instructions>\nUse your tools.\n</instructions>\n<tools>\n<tool name="add">Adds two numbers.</tool>\n</tools>',
  );
});
