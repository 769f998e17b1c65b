import { expect, test } from "vitest";
import { inFormat } from "../../src/batch/answer-forms.ts";
import { assistantMessage } from "../../src/providers/assistant-message.ts";
import type { OnDelta, ProviderReply } from "../../src/providers/provider.ts";
import type { Message } from "../../src/shared/chat.ts";
import { callOf, chat, goodBody, testAdapter, testEntry } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const SEARCH = { type: "web_search_20250305", name: "web_search", max_uses: 2 };
const HIT = { type: "web_search_result", url: "https://a.example", title: "A", encrypted_content: "E" };
const CITED = {
  type: "web_search_result_location",
  url: "https://a.example",
  encrypted_index: "I",
  cited_text: "so",
};
const BLOCKS = [
  { type: "thinking", thinking: "I look it up.", signature: "sig" },
  { type: "text", text: "I search." },
  { type: "server_tool_use", id: "srvtoolu_1", name: "web_search", input: { query: "x" } },
  { type: "web_search_tool_result", tool_use_id: "srvtoolu_1", content: [HIT] },
  { type: "text", text: "It is so.", citations: [CITED] },
  { type: "tool_use", id: "toolu_1", name: "add", input: { a: 1 } },
];
const USAGE = { input_tokens: 10, output_tokens: 5, server_tool_use: { web_search_requests: 1 } };

/** The blocks as a stream has them: whole, but for texts, thinking and inputs, which come in pieces. */
function events(stop: string): string {
  const pieces = BLOCKS.flatMap((block, index) => {
    const { type, text, thinking, signature, citations, input } = block as Record<string, unknown>;
    const deltas = [
      ...(text ? [{ type: "text_delta", text }] : []),
      ...(thinking
        ? [
            { type: "thinking_delta", thinking },
            { type: "signature_delta", signature },
          ]
        : []),
      ...(citations ? [{ type: "citations_delta", citation: CITED }] : []),
      ...(input
        ? ['{"', JSON.stringify(input).slice(2)].map((partial_json) => ({
            type: "input_json_delta",
            partial_json,
          }))
        : []),
    ];
    const begun =
      type === "text"
        ? { type, text: "" }
        : type === "thinking"
          ? { type, thinking: "", signature: "" }
          : input
            ? { ...block, input: {} }
            : block;
    return [
      { type: "content_block_start", index, content_block: begun },
      ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
      { type: "content_block_stop", index },
    ];
  });
  const head = {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "m",
    content: [],
    stop_reason: null,
    usage: USAGE,
  };
  return [
    { type: "message_start", message: head },
    ...pieces,
    { type: "message_delta", delta: { stop_reason: stop }, usage: USAGE },
    { type: "message_stop" },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join("");
}

/** A server that runs a tool of its own in its first answer, and what it was asked. */
async function searching(stop = "tool_use") {
  const bodies: { messages: Message[]; tools?: unknown[]; stream?: boolean }[] = [];
  const wire = await wireServer((response, { body }) => {
    bodies.push(JSON.parse(body));
    if (bodies.length > 1) return sendJson(response, goodBody("anthropic"));
    if (bodies[0]?.stream)
      return response.writeHead(200, { "content-type": "text/event-stream" }).end(events(stop));
    return sendJson(response, { ...goodBody("anthropic"), content: BLOCKS, stop_reason: stop, usage: USAGE });
  });
  return { bodies, adapter: testAdapter(testEntry("anthropic", wire.url)) };
}

const own = { providerOptions: { anthropic: { tools: [SEARCH] } } };
const add = { type: "function", function: { name: "add", parameters: { type: "object", properties: {} } } };

test.each([false, true])(
  "what Anthropic's own tools bring goes back as it came; streamed: %s",
  async (isStreamed) => {
    const { bodies, adapter } = await searching();
    const told: string[] = [];
    const onDelta: OnDelta = (piece) => void (piece.type === "text" && told.push(piece.text));
    const ask = chat("x", { tools: [add] });
    const reply = await adapter.complete(
      callOf("anthropic", ask, { wire: own, ...(isStreamed && { onDelta }) }),
    );
    expect(bodies[0]?.tools).toEqual([
      { name: "add", input_schema: { type: "object", properties: {} } },
      SEARCH,
    ]);
    const [choice] = reply.body.choices;
    expect(choice).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: "I search.It is so.", reasoning: "I look it up.", tool_calls: [{ id: "toolu_1" }] },
    });
    if (isStreamed) expect(told.join("")).toBe("I search.It is so.");
    const result: Message = { role: "tool", tool_call_id: "toolu_1", content: "1" };
    const history: Message[] = [...ask.messages, assistantMessage(reply.body, "anthropic-test"), result];
    await adapter.complete(callOf("anthropic", chat("", { messages: history, tools: [add] }), { wire: own }));
    expect(bodies[1]?.messages[1]).toEqual({ role: "assistant", content: BLOCKS });
    // To another entry, and without its tools, it is a plain answer.
    const other: Message[] = [...ask.messages, assistantMessage(reply.body, "other"), result];
    await adapter.complete(callOf("anthropic", chat("", { messages: other, tools: [add] })));
    expect(JSON.stringify(bodies[2])).not.toMatch(/server_tool_use|encrypted/);
  },
);

test.each([false, true])(
  "an answer that paused is gone on with from where it is; streamed: %s",
  async (isStreamed) => {
    const { bodies, adapter } = await searching("pause_turn");
    const options = { wire: own, ...(isStreamed && { onDelta: () => {} }) };
    const reply: Omit<ProviderReply, never> = await adapter.complete(callOf("anthropic", "x", options));
    expect(reply.body.choices[0]).toMatchObject({ native_finish_reason: "pause_turn" });
    const message = assistantMessage(reply.body, "anthropic-test");
    await adapter.complete(
      callOf("anthropic", chat("", { messages: [{ role: "user", content: "x" }, message] }), options),
    );
    expect(JSON.stringify(bodies[1]?.messages[1])).toContain("encrypted_index");
    const line = JSON.stringify({
      id: "i",
      custom_id: "c",
      response: { status_code: 200, body: reply.body },
      error: null,
    });
    expect(JSON.parse(inFormat(line, "anthropic"))).toMatchObject({
      result: { message: { content: BLOCKS, stop_reason: "pause_turn" } },
    });
  },
);

test.each([
  ["by the job itself, each call journaled and paid", 2, 3],
  ["but not for ever", 99, 11],
])("an answer that paused is gone on with: %s", async (_, pauses, calls) => {
  const [, ...rest] = BLOCKS.slice(0, 5);
  const bodies: { messages: { role: string; content: unknown[] }[] }[] = [];
  const wire = await wireServer((response, { body }) => {
    bodies.push(JSON.parse(body));
    const paused = { content: rest, stop_reason: "pause_turn", usage: USAGE };
    sendJson(response, { ...goodBody("anthropic"), ...(bodies.length <= pauses && paused) });
  });
  const claude = { dialect: "anthropic", baseUrl: wire.url, keyOptional: true };
  const env = {
    GLUELLM_PROVIDERS: JSON.stringify({ claude }),
    GLUELLM_PRICES: '{"claude:m":{"inputPerMillion":1,"outputPerMillion":1}}',
  };
  await using site = await TestSite.open({}, env);
  await using glue = openClient(site, { mode: "local", model: "claude:m" });
  const conversation = glue.conversation();
  const result = await conversation.complete("x", own);
  expect(bodies).toHaveLength(calls);
  expect(result.tokensUsed.prompt).toBeGreaterThanOrEqual(10 * Math.min(calls, pauses));
  expect(result.costUsd).toBeCloseTo(result.tokensUsed.total / 1e6, 9);
  expect(JSON.stringify(bodies[1]?.messages.at(-1))).toContain("encrypted_content");
  if (calls > 3)
    return expect(result.rawResponse.choices[0]).toMatchObject({ native_finish_reason: "pause_turn" });
  expect(result.finalResponse).toBe("Four.");
  await conversation.complete("y", own);
  expect(JSON.stringify(bodies.at(-1)?.messages)).toMatch(/(encrypted_content.*){2}Four/s);
});
