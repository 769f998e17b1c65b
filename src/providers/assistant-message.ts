import type { ChatCompletion, Message } from "../shared/chat.ts";

export type ToolCall = NonNullable<Message["tool_calls"]>[number];

/**
 * Returns an answer as the message that later requests show. Some servers of the dialect leave out ids and types, send
 * `null` for no calls, and arguments as an object: every call gets the form that all of them read.
 */
export function assistantMessage({ choices: [choice] }: ChatCompletion): Message {
  const { content, tool_calls: calls } = (choice?.message ?? {}) as {
    content?: unknown;
    tool_calls?: unknown;
  };
  const toolCalls = (Array.isArray(calls) ? calls : []).map(toToolCall);
  return {
    role: "assistant",
    content: typeof content === "string" ? content : null,
    ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
  };
}

/** Returns the tool calls of an answer. */
export function toolCallsOf(body: ChatCompletion): ToolCall[] {
  return assistantMessage(body).tool_calls ?? [];
}

function toToolCall(raw: unknown, index: number): ToolCall {
  const { id, function: called } = (raw ?? {}) as { id?: unknown; function?: unknown };
  const { name, arguments: args } = (called ?? {}) as { name?: unknown; arguments?: unknown };
  return {
    id: typeof id === "string" && id !== "" ? id : `call_${index}`,
    type: "function",
    function: {
      name: typeof name === "string" ? name : "",
      arguments: typeof args === "string" ? args : JSON.stringify(args ?? {}),
    },
  };
}
