import type { ChatCompletion, Message } from "../shared/chat.ts";
import { fieldsOf } from "../shared/json.ts";
import { vendorStateOf } from "./vendor-state.ts";

export type ToolCall = NonNullable<Message["tool_calls"]>[number];

/**
 * Returns an answer as the message that later requests show. Some servers of the dialect leave out ids and types, send
 * `null` for no calls, and arguments as an object: every call gets the form that all of them read.
 * @param entry the provider entry that answered: what it wants back verbatim is kept under its name
 */
export function assistantMessage({ choices: [choice] }: ChatCompletion, entry?: string): Message {
  const { content, refusal, tool_calls: calls } = fieldsOf(choice?.message);
  const toolCalls = (Array.isArray(calls) ? calls : []).map(toToolCall);
  const state = entry === undefined ? undefined : vendorStateOf(choice?.message);
  return {
    role: "assistant",
    content: textOf(content) || textOf(refusal) || null,
    ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
    ...(entry !== undefined && state && { vendor_state: { [entry]: state } }),
  };
}

/** Returns the tool calls of an answer. */
export function toolCallsOf(body: ChatCompletion): ToolCall[] {
  return assistantMessage(body).tool_calls ?? [];
}

/** Returns a text, or the texts among parts. */
function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  const parts = Array.isArray(content) ? content.map(fieldsOf) : [];
  return parts
    .filter(({ type }) => type === "text")
    .map(({ text }) => (typeof text === "string" ? text : ""))
    .join("");
}

function toToolCall(raw: unknown, index: number): ToolCall {
  const { id, function: called } = fieldsOf(raw);
  const { name, arguments: args } = fieldsOf(called);
  return {
    id: typeof id === "string" && id !== "" ? id : `call_${index}`,
    type: "function",
    function: {
      name: typeof name === "string" ? name : "",
      arguments: typeof args === "string" ? args : JSON.stringify(args ?? {}),
    },
  };
}
