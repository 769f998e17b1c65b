import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../src/simulator/simulator.ts";

/** A simulator without latency, and both vendors' SDKs pointed at it. */
export interface SimulatedProvider extends AsyncDisposable {
  simulator: Simulator;
  openai: OpenAI;
  anthropic: Anthropic;
}

export async function simulatedProvider(options: SimulatorOptions = {}): Promise<SimulatedProvider> {
  const simulator = await startSimulator({ latencyMs: 0, jitterMs: 0, ...options });
  const client = { apiKey: "test-key", maxRetries: 0, timeout: 150_000 };
  return {
    simulator,
    openai: new OpenAI({ ...client, baseURL: `${simulator.url}/v1` }),
    anthropic: new Anthropic({ ...client, baseURL: simulator.url }),
    [Symbol.asyncDispose]: () => simulator.close(),
  };
}

export function openaiRequest(text: string) {
  return { model: "demo", messages: [{ role: "user" as const, content: text }] };
}

export function anthropicRequest(text: string) {
  return { ...openaiRequest(text), max_tokens: 500 };
}

/** Posts any body, and gives status, headers and parsed answer. */
export async function post(url: string, body: unknown, headers: Record<string, string> = {}) {
  const raw = typeof body === "string" || body instanceof Uint8Array;
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: raw ? (body as string | Uint8Array<ArrayBuffer>) : JSON.stringify(body),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

/** All events of a stream. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const events: T[] = [];
  for await (const event of stream) events.push(event);
  return events;
}
