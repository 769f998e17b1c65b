import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createAdapter } from "../../src/providers/create-adapter.ts";
import type { OnDelta, ProviderAdapter, ProviderReply } from "../../src/providers/provider.ts";
import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  GlueError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
  TokenLimitError,
} from "../../src/shared/errors.ts";
import type { ProviderEntry } from "../../src/shared/providers.ts";
import { callOf, chat, failureOf, TEST_KEY } from "./provider.ts";
import { waitFor } from "./wait-for.ts";

/**
 * A provider of one dialect that answers any prompt, calls a tool where `tool_choice` demands it, and goes wrong
 * on prompts with `fault:<kind>`: see FAULTS for the kinds; also drop, cut, and hang (no answer for 20 s). A stream for
 * `stream:cut` ends after some pieces.
 */
export interface ConformanceBackend {
  entry: ProviderEntry;
  /** Requests that arrived with this text in their last user message. */
  seen(text: string): number | Promise<number>;
  close(): Promise<void>;
}

const FAULTS = [
  { kind: "429", type: RateLimitError, code: "rate_limit", retryAfterMs: 2000 },
  { kind: "529", type: OverloadedError, code: "overloaded" },
  { kind: "insufficient_quota", type: AccountError, code: "insufficient_quota" },
  { kind: "401", type: AuthenticationError, code: "authentication" },
  { kind: "403", type: AuthenticationError, code: "authentication" },
  { kind: "404", type: AccountError, code: "model_not_found" },
  { kind: "400", type: InvalidRequestError, code: "invalid_request" },
  { kind: "context_length_exceeded", type: TokenLimitError, code: "context_length_exceeded" },
  { kind: "500", type: APIConnectionError, code: "server_error" },
  { kind: "503", type: APIConnectionError, code: "server_error" },
  { kind: "drop", type: APIConnectionError, code: "connection" },
  { kind: "cut", type: APIConnectionError, code: "invalid_response" },
];

const TOOL = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather in a city",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

/** What `reply` has in common with the same reply of another call. */
function contentOf({ body, tokens, charged, statusCode }: ProviderReply) {
  const { id, created, choices, ...rest } = body;
  // Ids differ from call to call, and aimock's streams do not say that there is no refusal.
  const comparable = JSON.parse(JSON.stringify(choices), (key, value) =>
    key === "id" || key === "refusal" ? undefined : value,
  );
  return { ...rest, choices: comparable, tokens, charged, statusCode };
}

function joined(pieces: Parameters<OnDelta>[0][]) {
  const calls = pieces.filter((piece) => piece.type === "toolCall");
  return {
    text: pieces.map((piece) => (piece.type === "text" ? piece.text : "")).join(""),
    arguments: calls.map((piece) => piece.arguments).join(""),
    named: calls.flatMap(({ id, name }) => (id ? [{ id, name }] : [])),
  };
}

/** What every adapter does with every provider. */
export function conformsToAdapterContract(name: string, start: () => Promise<ConformanceBackend>): void {
  describe(name, () => {
    let backend: ConformanceBackend;
    let adapter: ProviderAdapter;
    beforeAll(async () => {
      backend = await start();
      adapter = createAdapter(backend.entry);
    });
    afterAll(async () => {
      await adapter.close();
      await backend.close();
    });
    const complete = (
      ...[request, changes]: Parameters<typeof callOf> extends [unknown, ...infer R] ? R : never
    ) => adapter.complete(callOf(backend.entry.dialect, request, changes));

    it("answers with a chat.completion, usage and the provider's request id", async () => {
      const reply = await complete("What is two and two?");
      expect(reply.statusCode).toBe(200);
      expect(reply.requestId).toMatch(/\S/);
      expect(reply.body.object).toBe("chat.completion");
      const [choice] = reply.body.choices;
      expect(choice).toMatchObject({ finish_reason: "stop", message: { role: "assistant" } });
      expect(choice?.message.content).toMatch(/\S/);
      const { prompt, completion, total } = reply.tokens;
      expect([prompt, completion]).toEqual([expect.any(Number), expect.any(Number)]);
      expect(completion).toBeGreaterThan(0);
      expect(total).toBe(prompt + completion);
      expect(reply.body.usage).toMatchObject({ prompt_tokens: prompt, completion_tokens: completion });
      expect(reply.charged).toEqual({ input: prompt, output: completion });
    });

    it("takes several turns, with system and developer messages", async () => {
      const reply = await complete({
        messages: [
          { role: "system", content: "Answer briefly." },
          { role: "developer", content: [{ type: "text", text: "In English." }] },
          { role: "user", content: "My name is Ada." },
          { role: "assistant", content: "Hello Ada." },
          { role: "user", content: [{ type: "text", text: "What is my name?" }] },
        ],
        max_tokens: 200,
      });
      expect(reply.body.choices[0]?.message.content).toMatch(/\S/);
    });

    it("carries a tool call there and back", async () => {
      const question = { role: "user" as const, content: "tool:weather in Paris?" };
      const first = await complete({ messages: [question], tools: [TOOL], tool_choice: "required" });
      expect(first.body.choices[0]?.finish_reason).toBe("tool_calls");
      const calls = first.body.choices[0]?.message.tool_calls as {
        id: string;
        type: "function";
        function: { name: string; arguments: string };
      }[];
      expect(calls).toHaveLength(1);
      expect(calls[0]).toMatchObject({ type: "function", function: { name: "get_weather" } });
      expect(JSON.parse(calls[0]?.function.arguments ?? "")).toHaveProperty("city");

      const second = await complete({
        messages: [
          question,
          { role: "assistant", content: null, tool_calls: calls },
          { role: "tool", tool_call_id: calls[0]?.id, content: '{"celsius": 21}' },
        ],
        tools: [TOOL],
      });
      expect(second.body.choices[0]?.finish_reason).toBe("stop");
      expect(second.body.choices[0]?.message.content).toMatch(/\S/);
    });

    it.each(FAULTS)("turns $kind into $type.name", async ({ kind, type, code, retryAfterMs }) => {
      const prompt = `A secret prompt, fault:${kind}.`;
      const error = await failureOf(complete(chat(prompt)));
      expect(error).toBeInstanceOf(type);
      expect(error).toMatchObject({ code });
      if (retryAfterMs) expect(error).toMatchObject({ retryAfterMs });
      if (/^\d+$/.test(kind)) expect(error).toMatchObject({ status: Number(kind) });
      expect((error as GlueError).message).toContain(backend.entry.name);
      const shown = `${inspect(error, { depth: 10, showHidden: true })} ${JSON.stringify(error)}`;
      expect(shown).not.toContain("secret prompt");
      expect(shown).not.toContain(TEST_KEY);
      expect(await backend.seen(`fault:${kind}.`), "requests sent").toBe(1);
    });

    it("streams the reply that it gives without streaming, piece by piece", async () => {
      const request = chat('What is two and two?\n#sim {"reply": "Two and two is four."}');
      const pieces: Parameters<OnDelta>[0][] = [];
      const streamed = await complete(request, { onDelta: (piece) => pieces.push(piece) });
      expect(contentOf(streamed)).toEqual(contentOf(await complete(request)));
      expect(streamed.requestId).toMatch(/\S/);
      expect(pieces.length).toBeGreaterThan(1);
      expect(joined(pieces).text).toBe(streamed.body.choices[0]?.message.content);
    });

    it("streams a tool call", async () => {
      const request = chat("tool:weather in Paris?", { tools: [TOOL], tool_choice: "required" });
      const pieces: Parameters<OnDelta>[0][] = [];
      const streamed = await complete(request, { onDelta: (piece) => pieces.push(piece) });
      expect(contentOf(streamed)).toEqual(contentOf(await complete(request)));
      const calls = streamed.body.choices[0]?.message.tool_calls;
      const [call] = calls as { id: string; function: { arguments: string } }[];
      expect(joined(pieces)).toEqual({
        text: "",
        arguments: call?.function.arguments,
        named: [{ id: call?.id, name: "get_weather" }],
      });
    });

    it.each(FAULTS)("turns $kind into $type.name where a stream was asked", async ({ kind, type, code }) => {
      const prompt = `A secret prompt, streamed, fault:${kind}.`;
      const error = await failureOf(complete(chat(prompt), { onDelta: () => {} }));
      expect(error).toBeInstanceOf(type);
      expect(error).toMatchObject({ code });
      expect(inspect(error, { depth: 10, showHidden: true })).not.toContain("secret prompt");
    });

    it("takes a stream that ends before its finish reason for a broken answer", async () => {
      const error = await failureOf(complete(chat("stream:cut"), { onDelta: () => {} }));
      expect(error).toBeInstanceOf(APIConnectionError);
    });

    it("ends a call at its deadline", async () => {
      const error = await failureOf(complete("fault:hang, timeout", { timeoutMs: 150 }));
      expect(error).toBeInstanceOf(APIConnectionError);
      expect(error).toMatchObject({ code: "timeout" });
    });

    it("ends a call when its caller aborts it, and says so", async () => {
      const controller = new AbortController();
      const failure = failureOf(complete("fault:hang, abort", { signal: controller.signal }));
      await waitFor("the request's arrival", async () => (await backend.seen("fault:hang, abort")) > 0);
      controller.abort("draining");
      expect(await failure).toMatchObject({ name: "AbortError", cause: "draining" });
      expect(await failure).not.toBeInstanceOf(GlueError);
    });

    it("sends nothing for a call that was aborted before", async () => {
      const failure = await failureOf(complete("never sent", { signal: AbortSignal.abort("cancelled") }));
      expect(failure).toMatchObject({ name: "AbortError", cause: "cancelled" });
      expect(await backend.seen("never sent")).toBe(0);
    });
  });
}
