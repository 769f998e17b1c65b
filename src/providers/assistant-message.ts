import type { ChatCompletion, Message } from "../shared/chat.ts";
import { vendorStateOf } from "./vendor-state.ts";

export type ToolCall = NonNullable<Message["tool_calls"]>[number];

/**
 * Returns an answer as the message that later requests show: what every provider reads.
 * @param entry the provider entry that answered: what it wants back verbatim is kept under its name
 */
export function assistantMessage(body: ChatCompletion, entry?: string): Message {
  const message = body.choices[0]?.message;
  const toolCalls = toolCallsOf(body);
  const state = entry === undefined ? undefined : vendorStateOf(message);
  return {
    role: "assistant",
    content: message?.content || message?.refusal || null,
    ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
    ...(entry !== undefined && state && { vendor_state: { [entry]: state } }),
  };
}

/** Returns the tool calls of an answer. */
export function toolCallsOf({ choices: [choice] }: ChatCompletion): ToolCall[] {
  return (choice?.message.tool_calls ?? []).map(({ id, function: { name, arguments: args } }) => ({
    id,
    type: "function",
    function: { name, arguments: args },
  }));
}
