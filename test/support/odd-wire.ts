import { expect } from "vitest";
import { createAdapter } from "../../src/providers/create-adapter.ts";
import type { OnDelta, ProviderReply } from "../../src/providers/provider.ts";
import type { ChatRequest } from "../../src/shared/chat.ts";
import { sse } from "./odd-answers.ts";
import { type Wire as Asked, callOf, chat, testEntry } from "./provider.ts";
import { type WireServer, wireServer } from "./wire-server.ts";

/** A body as it stands on the wire, and the content type it is sent with. */
export interface Wire {
  body: string;
  type?: string;
  /** Default 200. */
  status?: number;
}

export const json = (value: unknown, type = "application/json"): Wire => ({
  body: JSON.stringify(value),
  type,
});

/** A server that answers each call with what the test puts on the wire for it, and an adapter for each way to ask. */
export function openOddWire() {
  const bodies: Wire[] = [];
  const closing: (() => Promise<void>)[] = [];
  let server: Promise<WireServer> | undefined;
  const adapters = new Map<Asked, ReturnType<typeof createAdapter>>();
  const open = () =>
    wireServer(
      (response, request) => {
        const { body, type, status = 200 } = bodies[Number(/wire-(\d+)-/.exec(request.body)?.[1])] as Wire;
        response.writeHead(status, type === undefined ? {} : { "content-type": type }).end(body);
      },
      (close) => closing.push(close),
    );

  /** Asks, and is answered with what stands on the wire. */
  async function ask(
    dialect: Asked,
    wire: Wire,
    onDelta?: OnDelta,
    parameters: Partial<ChatRequest> = {},
  ): Promise<ProviderReply> {
    server ??= open();
    const { url } = await server;
    if (!adapters.has(dialect)) adapters.set(dialect, createAdapter(testEntry(dialect, url)));
    const prompt = `wire-${bodies.push(wire) - 1}-`;
    const call = callOf(dialect, chat(prompt, parameters), onDelta && { onDelta });
    return (adapters.get(dialect) as ReturnType<typeof createAdapter>).complete(call);
  }

  /** Asks for a stream; its pieces must add up to the answer. */
  async function streamed(dialect: Asked, events: readonly unknown[]): Promise<ProviderReply> {
    const { told, onDelta } = gathered();
    const reply = await ask(dialect, { body: sse(dialect, events), type: "text/event-stream" }, onDelta);
    const { content, reasoning, tool_calls: calls = [] } = reply.body.choices[0]?.message ?? {};
    // Arguments that the model left out are none in the pieces.
    const toldCalls = told.calls.map((call) => ({ ...call, arguments: call.arguments || "{}" }));
    expect({ ...told, calls: toldCalls }).toEqual({
      text: content ?? "",
      reasoning: reasoning ?? "",
      calls: calls.map(({ id, function: { name, arguments: args } }) => ({ id, name, arguments: args })),
    });
    return reply;
  }

  async function close(): Promise<void> {
    await Promise.all([...adapters.values()].map((adapter) => adapter.close()));
    await Promise.all(closing.map((end) => end()));
  }

  return { ask, streamed, close };
}

interface ToldCall {
  id?: string;
  name?: string;
  arguments: string;
}

/** What the pieces of a stream add up to. */
function gathered() {
  const told = { text: "", reasoning: "", calls: [] as ToldCall[] };
  const onDelta: OnDelta = (piece) => {
    if (piece.type === "restart") Object.assign(told, { text: "", reasoning: "", calls: [] });
    else if (piece.type === "text" || piece.type === "reasoning") told[piece.type] += piece.text;
    else if (piece.type === "toolCall") {
      const { type: _, index, ...rest } = piece;
      const standing = told.calls[index];
      told.calls[index] = { ...standing, ...rest, arguments: (standing?.arguments ?? "") + rest.arguments };
    }
  };
  return { told, onDelta };
}

/** What every answer behind the readers is. */
export function expectNormal({ body, tokens, charged }: ProviderReply): void {
  expect(body).toMatchObject({
    id: expect.stringMatching(/./),
    object: "chat.completion",
    model: expect.stringMatching(/./),
  });
  expect(Number.isSafeInteger(body.created)).toBe(true);
  for (const { message, finish_reason: reason } of body.choices) {
    expect(["stop", "length", "tool_calls", "content_filter"]).toContain(reason);
    expect(message.role).toBe("assistant");
    expect(message.content === null || typeof message.content === "string").toBe(true);
    for (const { id, type, function: called } of message.tool_calls ?? [])
      expect([id, type, called.name, called.arguments]).toEqual([
        expect.stringMatching(/./),
        "function",
        expect.any(String),
        expect.any(String),
      ]);
  }
  const { prompt, completion, total } = tokens;
  for (const count of [prompt, completion, total])
    expect(Number.isSafeInteger(count) && count > 0).toBe(true);
  expect(total).toBeGreaterThanOrEqual(prompt + completion);
  expect(body.usage).toMatchObject({
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: total,
  });
  expect(charged).toEqual({ input: expect.any(Number), output: expect.any(Number) });
}
