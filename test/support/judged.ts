import type { ProviderCall } from "../../src/providers/provider.ts";
import type { Message } from "../../src/shared/chat.ts";
import type { ProviderEntry } from "../../src/shared/providers.ts";
import { callOf, chat, errorBody, goodBody, testAdapter, testEntry, type Wire } from "./provider.ts";
import { sendJson, wireServer } from "./wire-server.ts";

// biome-ignore lint/suspicious/noExplicitAny: bodies of any dialect
export type Body = any;

/** A refusal, or undefined for a good answer. */
export type Judge = (body: Body) => { message: string; [field: string]: unknown } | undefined;

/** A server that refuses what `judge` says, an adapter for it, and the bodies that it got. */
export async function judged(wire: Wire, judge: Judge, changes: Partial<ProviderEntry> = {}) {
  const bodies: Body[] = [];
  const server = await wireServer((response, request) => {
    const body = JSON.parse(request.body);
    bodies.push(body);
    const error = judge(body);
    if (error) sendJson(response, errorBody(wire, { type: "invalid_request_error", ...error }), 400);
    else sendJson(response, goodBody(wire));
  });
  const adapter = testAdapter({ ...testEntry(wire, server.url), ...changes });
  const ask = (
    request: Parameters<typeof chat>[1] & { messages?: Message[] },
    call: Partial<ProviderCall> = {},
  ) => adapter.complete(callOf(wire, { ...chat("x"), ...request }, call));
  return { ask, bodies, server };
}

/** Returns a judge that refuses with the text that it is given, if any. */
export function refusal(judge: (body: Body) => string | undefined): Judge {
  return (body) => {
    const message = judge(body);
    return message === undefined ? undefined : { message };
  };
}
