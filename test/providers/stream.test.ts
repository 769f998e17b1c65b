import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import type { OnDelta, SeenHeaders } from "../../src/providers/provider.ts";
import {
  APIConnectionError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
} from "../../src/shared/errors.ts";
import type { Dialect } from "../../src/shared/providers.ts";
import { startSimulator } from "../../src/simulator/simulator.ts";
import { callOf, chat, DIALECTS, failureOf, testAdapter, testEntry } from "../support/provider.ts";
import { wireServer } from "../support/wire-server.ts";

/** An event of the dialect's stream. */
function sse(dialect: Dialect, data: Record<string, unknown>): string {
  const name = dialect === "anthropic" ? `event: ${data.type}\n` : "";
  return `${name}data: ${JSON.stringify(data)}\n\n`;
}

const chunk = (delta: object, finish: string | null = null) => ({
  id: "chatcmpl-1",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, delta, finish_reason: finish }],
});

const OPENINGS: Record<Dialect, Record<string, unknown>[]> = {
  openai: [chunk({ role: "assistant", content: "" }), chunk({ content: "Four " })],
  anthropic: [
    {
      type: "message_start",
      message: { id: "msg_1", model: "m", usage: { input_tokens: 7, output_tokens: 1 } },
    },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Four " } },
  ],
};

/** A call whose answer begins as OPENINGS and goes on as `rest` does. */
async function begunCall(
  dialect: Dialect,
  rest: (response: ServerResponse) => unknown,
  options: { timeoutMs?: number; idleTimeoutMs?: number; signal?: AbortSignal; onText?: () => void } = {},
) {
  const server = await wireServer((response) => {
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "request-id": "r1",
      "x-request-id": "r1",
    });
    response.write(OPENINGS[dialect].map((event) => sse(dialect, event)).join(""));
    rest(response);
  });
  const seen: SeenHeaders[] = [];
  const adapter = testAdapter(testEntry(dialect, server.url), { onHeaders: (headers) => seen.push(headers) });
  const { onText, ...changes } = options;
  const texts: string[] = [];
  const onDelta: OnDelta = (piece) => {
    if (piece.type !== "text") return;
    texts.push(piece.text);
    onText?.();
  };
  return {
    work: adapter.complete(callOf(dialect, "two and two?", { ...changes, onDelta })),
    texts,
    seen,
    server,
  };
}

/** The pieces and the reply of a call that the wire answers with these events. */
async function streamed(dialect: Dialect, events: Record<string, unknown>[]) {
  const server = await wireServer((response) =>
    response
      .writeHead(200, { "content-type": "text/event-stream" })
      .end(events.map((e) => sse(dialect, e)).join("")),
  );
  const pieces: Parameters<OnDelta>[0][] = [];
  const adapter = testAdapter(testEntry(dialect, server.url));
  const reply = await adapter.complete(callOf(dialect, "x", { onDelta: (piece) => pieces.push(piece) }));
  return { pieces, message: reply.body.choices[0]?.message, reply, server };
}

describe.each(DIALECTS)("a stream of the %s dialect", (dialect) => {
  test("that ends in good order without its finish reason is no answer", async () => {
    const { work, texts, seen } = await begunCall(dialect, (response) => response.end());
    const error = await failureOf(work);
    expect(error).toBeInstanceOf(APIConnectionError);
    expect(error).toMatchObject({ code: "invalid_response", providerRequestId: "r1" });
    expect(texts).toEqual(["Four "]);
    expect(seen.map(({ isSuccess }) => isSuccess)).toEqual([true]);
  });

  test("whose connection breaks is a fault of the connection", async () => {
    const { work } = await begunCall(dialect, (response) => setImmediate(() => response.destroy()));
    expect(await failureOf(work)).toBeInstanceOf(APIConnectionError);
  });

  test("that stalls ends at the call's deadline", async () => {
    const { work, texts } = await begunCall(dialect, () => {}, { timeoutMs: 500 });
    expect(await failureOf(work)).toMatchObject({ code: "timeout" });
    expect(texts).toEqual(["Four "]);
  });

  test("that stalls ends when nothing has come for the idle time, which every byte begins anew", async () => {
    const keepOpen = async (response: ServerResponse) => {
      for (let n = 0; n < 12; n++) {
        await delay(100);
        response.write(": still there\n\n");
      }
    };
    const sentAt = performance.now();
    const { work, texts } = await begunCall(dialect, keepOpen, { idleTimeoutMs: 1000 });
    const error = await failureOf(work);
    expect(error).toMatchObject({ code: "timeout", hint: expect.stringContaining("idleTimeoutMs") });
    expect(performance.now() - sentAt, "1.2 s of comments, then the idle time").toBeGreaterThan(2100);
    expect(texts).toEqual(["Four "]);
  });

  test("ends when its caller aborts it", async () => {
    const aborter = new AbortController();
    const options = { signal: aborter.signal, onText: () => aborter.abort("cancelled") };
    const { work } = await begunCall(dialect, () => {}, options);
    expect(await failureOf(work)).toMatchObject({ name: "AbortError", cause: "cancelled" });
  });

  test.each([
    ["overloaded_error", OverloadedError],
    ["rate_limit_error", RateLimitError],
    ["invalid_request_error", InvalidRequestError],
    ["something_new", APIConnectionError],
  ])("that breaks off with %s is classified as the refusal would be", async (type, errorClass) => {
    const failure = { type: "error", error: { type, message: "A secret prompt" } };
    const { work, seen } = await begunCall(dialect, (response) => response.end(sse(dialect, failure)));
    const error = await failureOf(work);
    expect(error).toBeInstanceOf(errorClass);
    expect(String(error)).not.toContain("secret");
    expect(seen).toHaveLength(1);
  });

  test("that holds something else than its events is no answer", async () => {
    const odd = dialect === "openai" ? { choices: "none" } : { type: "content_block_delta", index: "first" };
    const { work } = await begunCall(dialect, (response) => response.end(sse(dialect, odd)));
    expect(await failureOf(work)).toMatchObject({ code: "invalid_response" });
  });

  test("breaks off in the simulator too", async () => {
    const simulator = await startSimulator({ port: 0, latencyMs: 0, faults: { stream_error: 1 } });
    onTestFinished(() => simulator.close());
    const adapter = testAdapter(testEntry(dialect, simulator.url));
    const texts: string[] = [];
    const onDelta: OnDelta = (piece) => texts.push(piece.type);
    const error = await failureOf(adapter.complete(callOf(dialect, "x", { onDelta })));
    expect(error).toBeInstanceOf(dialect === "anthropic" ? OverloadedError : APIConnectionError);
    expect(texts).toContain("text");
    expect(await failureOf(adapter.complete(callOf(dialect, "x")))).toBeInstanceOf(OverloadedError);
  });
});

describe("the OpenAI dialect", () => {
  const tool = (piece: object, finish: string | null = null) => chunk({ tool_calls: [piece] }, finish);

  test("parallel tool calls: by index, and by id where every index is 0 or missing", async () => {
    const byIndex = [
      tool({ index: 0, id: "a", type: "function", function: { name: "f", arguments: "" } }),
      tool({ index: 1, id: "b", type: "function", function: { name: "g", arguments: "" } }),
      tool({ index: 0, function: { arguments: '{"x":' } }),
      tool({ index: 1, function: { arguments: "{}" } }),
      tool({ index: 0, function: { arguments: "1}" } }, "tool_calls"),
    ];
    const byId = [
      tool({ index: 0, id: "a", type: "function", function: { name: "f", arguments: '{"x":1}' } }),
      tool({ id: "b", type: "function", function: { name: "g", arguments: "{}" } }, "tool_calls"),
    ];
    for (const events of [byIndex, byId]) {
      const { message, pieces } = await streamed("openai", events);
      expect(message?.tool_calls).toEqual([
        { id: "a", type: "function", function: { name: "f", arguments: '{"x":1}' } },
        { id: "b", type: "function", function: { name: "g", arguments: "{}" } },
      ]);
      const joined = ["", ""];
      for (const piece of pieces) if (piece.type === "toolCall") joined[piece.index] += piece.arguments;
      expect(joined).toEqual(['{"x":1}', "{}"]);
    }
  });

  test("fields it does not know, and usage that the server does not report", async () => {
    const { message, reply, server } = await streamed("openai", [
      { ...chunk({ role: "assistant", content: null, reasoning_content: "Let me " }), obfuscation: "xyz" },
      chunk({ reasoning_content: "think." }),
      chunk({ content: "4" }),
      chunk({ content: "2", role: "assistant" }, "stop"),
    ]);
    expect(message).toEqual({
      role: "assistant",
      content: "42",
      reasoning_content: "Let me think.",
      reasoning: "Let me think.",
    });
    expect(reply.tokens).toMatchObject({ total: 9, estimated: true });
    expect(reply.body).not.toHaveProperty("obfuscation");
    expect(JSON.parse(server.requests[0]?.body ?? "")).toMatchObject({
      stream: true,
      stream_options: { include_usage: true },
    });
  });

  test("several choices are refused before anything is sent", async () => {
    const server = await wireServer((response) => response.end());
    const adapter = testAdapter(testEntry("openai", server.url));
    const call = callOf("openai", chat("x", { n: 2 }), { onDelta: () => {} });
    expect(await failureOf(adapter.complete(call))).toBeInstanceOf(InvalidRequestError);
    expect(server.requests).toEqual([]);
  });
});

describe("the Anthropic dialect", () => {
  test("text, thinking and tool calls with and without input; the arguments as the model wrote them", async () => {
    const start = (index: number, block: object) => ({
      type: "content_block_start",
      index,
      content_block: block,
    });
    const delta = (index: number, piece: object) => ({ type: "content_block_delta", index, delta: piece });
    const stop = (index: number) => ({ type: "content_block_stop", index });
    const { message, pieces, reply } = await streamed("anthropic", [
      {
        type: "message_start",
        message: { id: "msg_1", model: "m", usage: { input_tokens: 7, output_tokens: 1 } },
      },
      start(0, { type: "thinking", thinking: "" }),
      delta(0, { type: "thinking_delta", thinking: "hm" }),
      stop(0),
      start(1, { type: "text", text: "" }),
      delta(1, { type: "text_delta", text: "I look." }),
      stop(1),
      start(2, { type: "tool_use", id: "a", name: "f", input: {} }),
      delta(2, { type: "input_json_delta", partial_json: '{"x": ' }),
      delta(2, { type: "input_json_delta", partial_json: "1}" }),
      stop(2),
      start(3, { type: "tool_use", id: "b", name: "g", input: {} }),
      stop(3),
      { type: "news_of_2027" },
      {
        type: "message_delta",
        delta: { stop_reason: "tool_use" },
        usage: { output_tokens: 9, input_tokens: null },
      },
      { type: "message_stop" },
    ]);
    expect(message).toMatchObject({
      content: "I look.",
      tool_calls: [
        { id: "a", function: { name: "f", arguments: '{"x": 1}' } },
        { id: "b", function: { name: "g", arguments: "{}" } },
      ],
    });
    expect(reply.tokens).toMatchObject({ prompt: 7, completion: 9 });
    expect(pieces).toEqual([
      { type: "reasoning", text: "hm" },
      { type: "text", text: "I look." },
      { type: "toolCall", index: 0, id: "a", name: "f", arguments: "" },
      { type: "toolCall", index: 0, arguments: '{"x": ' },
      { type: "toolCall", index: 0, arguments: "1}" },
      { type: "toolCall", index: 1, id: "b", name: "g", arguments: "" },
      { type: "toolCall", index: 1, arguments: "{}" },
    ]);
  });
});
