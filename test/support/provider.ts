import { onTestFinished } from "vitest";
import { createAdapter } from "../../src/providers/create-adapter.ts";
import type { AdapterOptions, ProviderAdapter, ProviderCall } from "../../src/providers/provider.ts";
import type { ChatRequest } from "../../src/shared/chat.ts";
import type { Dialect, ProviderEntry } from "../../src/shared/providers.ts";
import { Secret } from "../../src/shared/secret.ts";

export const TEST_KEY = "sk-test-4f1c9a7e-do-not-show";
export const DIALECTS: readonly Dialect[] = ["openai", "anthropic"];
/** What an answer is asked for by: the dialects, and the second API of OpenAI's. */
export type Wire = Dialect | "responses";
export const WIRES: readonly Wire[] = ["openai", "responses", "anthropic"];
export function dialectOf(wire: Wire): Dialect {
  return wire === "anthropic" ? "anthropic" : "openai";
}

export const MODELS: Record<Dialect, string> = { openai: "gpt-4o-mini", anthropic: "claude-sonnet-4-6" };

/** An entry of the dialect at a server that answers both dialects' paths. */
export function testEntry(wire: Wire, serverUrl: string): ProviderEntry {
  const dialect = dialectOf(wire);
  return {
    name: `${wire}-test`,
    dialect,
    ...(wire === "responses" && { api: wire }),
    baseUrl: dialect === "openai" ? `${serverUrl}/v1` : serverUrl,
    keyVariable: "TEST_PROVIDER_API_KEY",
    apiKey: new Secret(TEST_KEY),
    custom: true,
  };
}

/** An adapter that is closed with the test. */
export function testAdapter(entry: ProviderEntry, options: AdapterOptions = {}): ProviderAdapter {
  const adapter = createAdapter(entry, options);
  onTestFinished(() => adapter.close());
  return adapter;
}

export function chat(text: string, parameters: Partial<ChatRequest> = {}): ChatRequest {
  return { messages: [{ role: "user", content: text }], ...parameters };
}

export function callOf(
  wire: Wire,
  request: ChatRequest | string,
  changes: Partial<ProviderCall> = {},
): ProviderCall {
  return {
    model: MODELS[dialectOf(wire)],
    request: typeof request === "string" ? chat(request) : request,
    requestId: "11111111-2222-4333-8444-555555555555",
    timeoutMs: 150_000,
    idleTimeoutMs: 150_000,
    signal: new AbortController().signal,
    ...changes,
  };
}

/** The error of a call that must fail. */
export async function failureOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error("the call succeeded");
}

/** A good answer. */
export function goodBody(wire: Wire, text = "Four."): Record<string, unknown> {
  if (wire === "responses") {
    const content = [{ type: "output_text", text, annotations: [], logprobs: [] }];
    return {
      id: "resp_1",
      object: "response",
      created_at: 1,
      model: MODELS.openai,
      status: "completed",
      error: null,
      incomplete_details: null,
      output: [{ type: "message", id: "msg_1", role: "assistant", status: "completed", content }],
      usage: { input_tokens: 12, output_tokens: 3, total_tokens: 15 },
    };
  }
  if (wire === "anthropic") {
    return {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: MODELS.anthropic,
      content: [{ type: "text", text }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: { input_tokens: 12, output_tokens: 3 },
    };
  }
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1,
    model: MODELS.openai,
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
    usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 },
  };
}

/** A refusal as the dialect writes it. */
export function errorBody(wire: Wire, error: Record<string, unknown>): Record<string, unknown> {
  return wire === "anthropic" ? { type: "error", error, request_id: "req_body" } : { error };
}
