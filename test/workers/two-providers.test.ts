import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTool, GlueLLM, type ProviderOptions } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { collect } from "../support/streamed.ts";
import { refusedByChat, refusedByMessages } from "../support/strict-history.ts";
import { sendJson, type WireServer, wireServer } from "../support/wire-server.ts";

// biome-ignore lint/suspicious/noExplicitAny: bodies of either dialect
type Body = any;
type Answer = { status: number } | Record<string, unknown>;

const weather = defineTool({
  name: "get_weather",
  description: "The weather",
  parameters: z.object({ city: z.string() }),
  execute: ({ city }) => `sunny in ${city}`,
});
const now = defineTool({
  name: "now",
  description: "The time",
  parameters: z.object({}),
  execute: () => "noon",
});
const SIGNED = { extra_content: { google: { thought_signature: "SIG" } } };
const THOUGHT = { type: "thinking", thinking: "hmm", signature: "s1" };

/** What each server answers in turn to the requests with a text: its first word names the case. */
const scripts = new Map<string, Answer[]>();
const bodies = new Map<string, Body[]>();
const parts = new AsyncDisposableStack();
let glue: GlueLLM;

/** A server that refuses what its vendor refuses, else goes on with the script of the request's first text. */
function strictServer(server: "chat" | "claude"): Promise<WireServer> {
  return wireServer(
    (response, request) => {
      const body = JSON.parse(request.body);
      const refused =
        server === "chat"
          ? refusedByChat(body, ["extra_content", "reasoning_content"])
          : refusedByMessages(body);
      if (refused)
        return sendJson(response, { error: { type: "invalid_request_error", message: refused } }, 400);
      const key = `${server} ${firstWord(body)}`;
      bodies.set(key, [...(bodies.get(key) ?? []), body]);
      const answer: Body = scripts.get(key)?.shift() ?? { status: 500 };
      if (answer.sse) return sendEvents(response, answer.sse, server === "chat");
      return sendJson(response, answer, answer.status ?? 200);
    },
    (close) => parts.defer(close),
  );
}

function sendEvents(response: ServerResponse, events: Body[], isChat: boolean): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const end = [{ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] }];
  for (const event of isChat ? [...events, ...end] : events)
    response.write(`${event.type ? `event: ${event.type}\n` : ""}data: ${JSON.stringify(event)}\n\n`);
  response.end(isChat ? "data: [DONE]\n\n" : "");
}

function firstWord({ messages }: Body): string {
  const [{ content }] = messages.filter(({ role }: Body) => role === "user");
  return (typeof content === "string" ? content : content[0].text).split(" ")[0];
}

beforeAll(async () => {
  const [chat, claude] = [await strictServer("chat"), await strictServer("claude")];
  const entries = {
    chat: { baseUrl: `${chat.url}/v1`, keyOptional: true },
    claude: { baseUrl: claude.url, dialect: "anthropic", keyOptional: true },
  };
  const env = { GLUELLM_PROVIDERS: JSON.stringify(entries), GLUELLM_ENABLE_CIRCUIT_BREAKER: "false" };
  const site = parts.use(await TestSite.open({}, { ...env, ENABLE_CIRCUIT_BREAKER: "false" }));
  const settings = loadSettings({ env: site.env, cwd: "/" });
  glue = parts.use(new GlueLLM({ model: "chat:m", mode: "local", settings, tools: [weather, now] }));
});
afterAll(() => parts.disposeAsync());

const call = (name: string, args: unknown, id?: string) => ({
  id,
  type: "function",
  function: { name, arguments: args },
});
const chatCalls = (calls: object[], more: object = {}) => ({
  ...goodBody("openai"),
  choices: [
    {
      index: 0,
      message: { role: "assistant", content: null, tool_calls: calls, ...more },
      finish_reason: "tool_calls",
    },
  ],
});
const claudeCalls = (...content: object[]) => ({
  ...goodBody("anthropic"),
  content,
  stop_reason: "tool_use",
});
const use = (id: string, name = "get_weather", input: unknown = { city: "Rome" }) => ({
  type: "tool_use",
  id,
  name,
  input,
});
const said = (text: string) => ({ chat: goodBody("openai", text), claude: goodBody("anthropic", text) });

describe.concurrent("a call of a tool that no provider would take back", () => {
  const CALLS: [string, unknown, string][] = [
    ["name", call("get_weather<|channel|>commentary", '{"city":"Paris"}', "call_1"), "unknown_tool"],
    ["nameless", call("", "{}", "call_1"), "unknown_tool"],
    ["cut", call("get_weather", '{"city": "Par', "call_1"), "invalid_arguments"],
    ["list", call("get_weather", "[1]", "call_1"), "invalid_arguments"],
    ["empty", call("now", "", "call_1"), "noon"],
    ["missing", call("now", undefined, "call_1"), "noon"],
    ["odd-id", call("now", "{}", "functions.now:0"), "noon"],
  ];
  test.each(CALLS)("%s is answered in its place, and the job goes on", async (what, bad, outcome) => {
    scripts.set(`chat ${what}`, [chatCalls([bad as object]), said("recovered").chat]);
    const result = await glue.complete(`${what} please`);
    expect(result.finalResponse).toBe("recovered");
    const [execution] = result.toolExecutionHistory;
    expect(execution?.error?.code ?? execution?.result).toBe(outcome);
    if (what === "cut") expect(execution?.error?.message).toContain('{"city": "Par');
  });
});

describe.concurrent("a tool loop", () => {
  test("that one provider began is ended by another, and a conversation goes back to the first", async () => {
    const model = ["chat:m", "claude:m"];
    scripts.set("chat across", [
      chatCalls(
        [{ ...call("now", "{}", "functions.now:0"), ...SIGNED }, call("now", "{", "functions.now:0")],
        { reasoning_content: "hm" },
      ),
      { status: 500 },
      said("back").chat,
    ]);
    scripts.set("claude across", [claudeCalls(use("toolu_é")), said("done").claude]);
    const conversation = glue.conversation();
    const first = await conversation.complete("across one", { model, maxAttempts: 1 });
    expect(first).toMatchObject({ finalResponse: "done", model: "claude:m", toolCallsMade: 3 });
    expect(JSON.stringify(bodies.get("claude across"))).not.toMatch(/SIG|vendor_state/);
    const second = await conversation.complete("and now?", { model, maxAttempts: 1 });
    expect(second).toMatchObject({ finalResponse: "back", model: "chat:m" });
    const { messages } = bodies.get("chat across")?.at(-1) ?? {};
    expect(messages[1].tool_calls[0]).toMatchObject(SIGNED);
    expect(messages[1]).toMatchObject({ reasoning_content: "hm" });
    expect(messages.map(({ role }: Body) => role)).toEqual([
      "user",
      "assistant",
      "tool",
      "tool",
      "assistant",
      "tool",
      "assistant",
      "user",
    ]);
  });

  test("of a model that thinks goes on from its thinking, and keeps it apart from others", async () => {
    const providerOptions = { claude: { thinking: { type: "enabled", budget_tokens: 1024 } } };
    scripts.set("claude think", [
      claudeCalls(THOUGHT, use("toolu_1")),
      said("done").claude,
      said("again").claude,
    ]);
    scripts.set("chat think", [said("chat").chat]);
    const conversation = glue.conversation();
    const ask = (text: string, model: string) => conversation.complete(text, { model, providerOptions });
    expect((await ask("think first", "claude:m")).finalResponse).toBe("done");
    expect(bodies.get("claude think")?.[1].messages[1].content).toEqual([
      THOUGHT,
      expect.objectContaining({ type: "tool_use" }),
    ]);
    expect((await ask("next", "chat:m")).finalResponse).toBe("chat");
    expect(JSON.stringify(bodies.get("chat think"))).not.toMatch(/hmm|thinking/);
    expect((await ask("last", "claude:m")).finalResponse).toBe("again");
  });

  test("a structured answer by a tool is repaired with what the provider wants back", async () => {
    const answer = (value: object) =>
      chatCalls([{ ...call("answer", JSON.stringify(value), "c1"), ...SIGNED }]);
    scripts.set("chat repaired", [answer({ n: "one" }), answer({ n: 1 })]);
    const schema = z.object({ n: z.number() });
    const options = { schema, outputMode: "tool", tools: [] } as const;
    expect(await glue.structuredComplete("repaired please", options)).toEqual({ n: 1 });
    expect(bodies.get("chat repaired")?.[1].messages[1].tool_calls[0]).toMatchObject(SIGNED);
  });

  test("a structured answer by a tool does not force a model that thinks", async () => {
    const providerOptions = { anthropic: { thinking: { type: "adaptive" } } };
    scripts.set("claude free", [claudeCalls(THOUGHT, use("toolu_1", "answer", { n: 1 }))]);
    const options = {
      schema: z.object({ n: z.number() }),
      outputMode: "tool",
      tools: [],
      model: "claude:m",
      providerOptions,
    } as const;
    expect(await glue.structuredComplete("free please", options)).toEqual({ n: 1 });
  });

  test("is streamed, and gives back what it was given in pieces", async () => {
    scripts.set("chat streamed", [
      {
        sse: [
          { role: "assistant", reasoning_content: "h" },
          { reasoning_content: "m" },
          { tool_calls: [{ index: 0, ...call("now", "", "c1"), ...SIGNED }] },
          { tool_calls: [{ index: 0, function: { arguments: "{}" } }] },
        ].map((delta) => ({ choices: [{ index: 0, delta }] })),
      },
      { sse: [{ choices: [{ index: 0, delta: { content: "noon" } }] }] },
    ]);
    const events = await collect(glue.stream("streamed please"));
    expect(events.at(-1)).toMatchObject({ result: { finalResponse: "noon" } });
    expect(bodies.get("chat streamed")?.[1].messages[1]).toMatchObject({
      reasoning_content: "hm",
      tool_calls: [{ ...SIGNED, function: { arguments: "{}" } }],
    });
  });

  test("of a model that thinks is streamed: its thinking goes back with its signature", async () => {
    const providerOptions = { anthropic: { thinking: { type: "enabled", budget_tokens: 1024 } } };
    const block = (index: number, start: object, ...deltas: object[]) => [
      { type: "content_block_start", index, content_block: start },
      ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
      { type: "content_block_stop", index },
    ];
    const message = (stop_reason: string, ...blocks: object[]) => ({
      sse: [
        { type: "message_start", message: { ...goodBody("anthropic"), content: [], stop_reason: null } },
        ...blocks,
        { type: "message_delta", delta: { stop_reason }, usage: { output_tokens: 3 } },
        { type: "message_stop" },
      ],
    });
    const thinking = block(
      0,
      { type: "thinking", thinking: "", signature: "" },
      { type: "thinking_delta", thinking: "h" },
      { type: "thinking_delta", thinking: "mm" },
      { type: "signature_delta", signature: "s1" },
    );
    const redacted = block(1, { type: "redacted_thinking", data: "xyz" });
    const using = block(
      2,
      { ...use("toolu_1", "now"), input: {} },
      { type: "input_json_delta", partial_json: "{}" },
    );
    scripts.set("claude live", [
      message("tool_use", ...thinking, ...redacted, ...using),
      message("end_turn", ...block(0, { type: "text", text: "" }, { type: "text_delta", text: "noon" })),
    ]);
    const events = await collect(glue.stream("live please", { model: "claude:m", providerOptions }));
    expect(events.at(-1)).toMatchObject({ result: { finalResponse: "noon" } });
    expect(bodies.get("claude live")?.[1].messages[1].content).toEqual([
      THOUGHT,
      { type: "redacted_thinking", data: "xyz" },
      { type: "tool_use", id: "toolu_1", name: "now", input: {} },
    ]);
  });

  test("with other words to the provider is another question to the cache", async () => {
    scripts.set("chat cached", [said("one").chat, said("two").chat]);
    const ask = (providerOptions: ProviderOptions) =>
      glue.complete("cached please", { temperature: 0, tools: [], providerOptions });
    expect((await ask({ claude: { top_k: 1 } })).finalResponse).toBe("one");
    expect((await ask({ claude: { top_k: 2 } })).finalResponse).toBe("one");
    expect((await ask({ chat: { top_k: 2 } })).finalResponse).toBe("two");
  });

  test("what the caller runs is taken back with what its provider wants", async () => {
    scripts.set("chat byhand", [
      chatCalls([{ ...call("now", "{}", "c1"), ...SIGNED }], { reasoning_content: "hm" }),
      said("noon").chat,
    ]);
    const first = await glue.complete("byhand please", { executeTools: false });
    const message = first.rawResponse.choices[0]?.message as never;
    const history = [
      { role: "user", content: "byhand please" },
      message,
      { role: "tool", tool_call_id: "c1", content: "noon" },
    ] as never;
    expect((await glue.complete(history)).finalResponse).toBe("noon");
    expect(bodies.get("chat byhand")?.[1].messages[1].tool_calls[0]).toMatchObject(SIGNED);
  });
});
