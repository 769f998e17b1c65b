import { describe, expect, it } from "vitest";
import { apiVersionFor, toMessagesRequest } from "../../src/providers/anthropic-request.ts";
import { type ChatRequest, chatRequestSchema } from "../../src/shared/chat.ts";
import { InvalidRequestError } from "../../src/shared/errors.ts";
import { callOf, chat, goodBody, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

const MODEL = "claude-sonnet-4-6";
const PIXEL = "data:image/png;base64,aGk=";

function translated(request: Record<string, unknown>) {
  const entry = testEntry("anthropic", "http://127.0.0.1");
  return toMessagesRequest({ entry, model: MODEL, request: chatRequestSchema.parse(request) });
}

describe("a request for Anthropic", () => {
  it("has the system apart, turns joined by role, and a limit", () => {
    const request = translated({
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "One" },
        { role: "developer", content: "Be kind." },
        { role: "user", content: [{ type: "text", text: "Two" }] },
        { role: "assistant", content: "Yes" },
        { role: "user", content: "Three" },
      ],
    });
    expect(request).toEqual({
      model: MODEL,
      max_tokens: 4096,
      system: [
        { type: "text", text: "Be brief." },
        { type: "text", text: "Be kind." },
      ],
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "One" },
            { type: "text", text: "Two" },
          ],
        },
        { role: "assistant", content: [{ type: "text", text: "Yes" }] },
        { role: "user", content: [{ type: "text", text: "Three" }] },
      ],
    });
  });

  it("carries pictures", () => {
    const content = [
      { type: "image_url", image_url: { url: PIXEL, detail: "low" } },
      { type: "image_url", image_url: { url: "https://example.com/a.png" } },
    ];
    expect(translated({ messages: [{ role: "user", content }] }).messages[0]?.content).toEqual([
      { type: "image", source: { type: "base64", media_type: "image/png", data: "aGk=" } },
      { type: "image", source: { type: "url", url: "https://example.com/a.png" } },
    ]);
  });

  it("puts the results of parallel tool calls into one message", () => {
    const call = (id: string) => ({ id, type: "function", function: { name: "f", arguments: '{"x":1}' } });
    const { messages } = translated({
      messages: [
        { role: "user", content: "Go" },
        { role: "assistant", content: "", tool_calls: [call("a"), call("b")] },
        { role: "tool", tool_call_id: "a", content: "1" },
        { role: "tool", tool_call_id: "b", content: [{ type: "text", text: "2" }] },
        { role: "user", content: "Sum?" },
      ],
    });
    expect(messages.slice(1)).toEqual([
      {
        role: "assistant",
        content: [
          { type: "tool_use", id: "a", name: "f", input: { x: 1 } },
          { type: "tool_use", id: "b", name: "f", input: { x: 1 } },
        ],
      },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "a", content: [{ type: "text", text: "1" }] },
          { type: "tool_result", tool_use_id: "b", content: [{ type: "text", text: "2" }] },
          { type: "text", text: "Sum?" },
        ],
      },
    ]);
  });

  it("translates the parameters", () => {
    const schema = { type: "object", properties: {}, additionalProperties: false };
    const request = translated({
      ...chat("Hello"),
      max_tokens: 10,
      max_completion_tokens: 20,
      temperature: 1,
      top_p: 0.9,
      stop: "END",
      user: "u-1",
      reasoning_effort: "high",
      response_format: { type: "json_schema", json_schema: { name: "a", schema, strict: true } },
      tools: [{ type: "function", function: { name: "f", description: "d", strict: true } }],
      tool_choice: { type: "function", function: { name: "f" } },
      parallel_tool_calls: false,
      // These ask for nothing.
      n: 1,
      seed: null,
      frequency_penalty: 0,
      logprobs: false,
    });
    expect(request).toMatchObject({
      max_tokens: 20,
      temperature: 1,
      top_p: 0.9,
      stop_sequences: ["END"],
      metadata: { user_id: "u-1" },
      output_config: { effort: "high", format: { type: "json_schema", schema } },
      tools: [{ name: "f", description: "d", strict: true, input_schema: { type: "object" } }],
      tool_choice: { type: "tool", name: "f", disable_parallel_tool_use: true },
    });
    expect(Object.keys(request)).not.toContain("seed");
  });

  it.each([
    ["auto", undefined, undefined],
    ["auto", false, { type: "auto", disable_parallel_tool_use: true }],
    ["none", undefined, { type: "none" }],
    ["required", undefined, { type: "any" }],
    ["required", true, { type: "any" }],
  ])("translates tool_choice %s with parallel_tool_calls %s", (tool_choice, parallel_tool_calls, choice) => {
    const tools = [{ type: "function", function: { name: "f" } }];
    expect(translated({ ...chat("Hello"), tools, tool_choice, parallel_tool_calls }).tool_choice).toEqual(
      choice,
    );
  });

  it("asks for the API version that knows temperature only where it is needed", async () => {
    const server = await wireServer((response) => sendJson(response, goodBody("anthropic")));
    const adapter = testAdapter(testEntry("anthropic", server.url));
    await adapter.complete(callOf("anthropic", chat("Hello", { temperature: 0 })));
    await adapter.complete(callOf("anthropic", chat("Hello", { temperature: null })));
    expect(server.requests.map(({ headers }) => headers["anthropic-version"])).toEqual([
      "2023-06-01",
      "2026-10-21",
    ]);
    expect(apiVersionFor(chat("Hello", { top_p: 1 }))).toBe("2023-06-01");
  });

  const user = (...content: unknown[]) => ({ messages: [{ role: "user", content }] });
  it.each<[string, Record<string, unknown>]>([
    ["temperature", { ...chat("x"), temperature: 1.1 }],
    ["n", { ...chat("x"), n: 2 }],
    ["seed", { ...chat("x"), seed: 7 }],
    ["logprobs", { ...chat("x"), logprobs: true }],
    ["logit_bias", { ...chat("x"), logit_bias: { "1": 2 } }],
    ["frequency_penalty", { ...chat("x"), frequency_penalty: 0.5 }],
    ["modalities", { ...chat("x"), modalities: ["audio"] }],
    ["response_format", { ...chat("x"), response_format: { type: "json_object" } }],
    ["reasoning_effort", { ...chat("x"), reasoning_effort: "minimal" }],
    ["tools[0]", { ...chat("x"), tools: [{ type: "custom", custom: { name: "f" } }] }],
    [
      "tool_choice",
      {
        ...chat("x"),
        tools: [{ type: "function", function: { name: "f" } }],
        tool_choice: { type: "allowed_tools" },
      },
    ],
    ["messages[0].content[1]", user({ type: "text", text: "x" }, { type: "input_audio", input_audio: {} })],
    ["messages[0].content[0].image_url", user({ type: "image_url", image_url: { url: "http://a/b.png" } })],
    ["messages[0].audience", { messages: [{ role: "user", content: "x", audience: "me" }] }],
    ["messages", { messages: [{ role: "user", content: "" }] }],
    [
      "messages[0].content",
      { messages: [{ role: "system", content: [{ type: "image_url", image_url: { url: PIXEL } }] }] },
    ],
  ])("is refused for %s, by its name", (name, request) => {
    const make = () => translated(request);
    expect(make).toThrow(InvalidRequestError);
    expect(make).toThrow(`cannot honour ${name}`);
  });
});

describe("an answer from Anthropic", () => {
  async function completion(changes: Record<string, unknown>, request: ChatRequest = chat("Hello")) {
    const server = await wireServer((response) =>
      sendJson(response, { ...goodBody("anthropic"), ...changes }),
    );
    return testAdapter(testEntry("anthropic", server.url)).complete(callOf("anthropic", request));
  }

  it.each([
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["max_tokens", "length"],
    ["model_context_window_exceeded", "length"],
    ["tool_use", "tool_calls"],
    ["refusal", "content_filter"],
  ])("that stopped for %s has finish_reason %s", async (stop_reason, finish_reason) => {
    const { body } = await completion({ stop_reason });
    expect(body.choices[0]?.finish_reason).toBe(finish_reason);
  });

  it("is a chat.completion: texts joined, thinking apart, tool calls and all usage", async () => {
    const { body, tokens } = await completion({
      content: [
        { type: "thinking", thinking: "hmm", signature: "s" },
        { type: "text", text: "Let me " },
        { type: "text", text: "look." },
        { type: "tool_use", id: "toolu_1", name: "f", input: { x: [1] } },
      ],
      stop_reason: "tool_use",
      usage: {
        input_tokens: 10,
        cache_read_input_tokens: 100,
        cache_creation_input_tokens: 5,
        output_tokens: 7,
        output_tokens_details: { thinking_tokens: 2 },
      },
    });
    expect(body).toEqual({
      id: "msg_1",
      object: "chat.completion",
      created: expect.any(Number),
      model: MODEL,
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: "Let me look.",
            refusal: null,
            reasoning: "hmm",
            thinking_blocks: [{ type: "thinking", thinking: "hmm", signature: "s" }],
            tool_calls: [
              { id: "toolu_1", type: "function", function: { name: "f", arguments: '{"x":[1]}' } },
            ],
          },
          logprobs: null,
          finish_reason: "tool_calls",
          native_finish_reason: "tool_use",
        },
      ],
      usage: {
        input_tokens: 10,
        cache_read_input_tokens: 100,
        cache_creation_input_tokens: 5,
        output_tokens: 7,
        output_tokens_details: { thinking_tokens: 2 },
        prompt_tokens: 115,
        completion_tokens: 7,
        total_tokens: 122,
        prompt_tokens_details: { cached_tokens: 100, cache_write_tokens: 5 },
        completion_tokens_details: { reasoning_tokens: 2 },
      },
    });
    expect(tokens).toEqual({ prompt: 115, completion: 7, total: 122, cached: 100, cacheWritten: 5 });
  });

  it("without a text has none", async () => {
    const { body } = await completion({ content: [], stop_reason: "refusal" });
    expect(body.choices[0]?.message.content).toBeNull();
  });
});
