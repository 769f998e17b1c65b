import type { Message as ProviderMessage } from "../shared/chat.ts";
import type { ContentPart } from "./content-part.ts";

/** The authors of messages. */
export const Role = { system: "system", user: "user", assistant: "assistant", tool: "tool" } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** A call of a tool in an assistant's message. */
export interface MessageToolCall {
  /** The id, which the message with its result names. */
  id: string;
  name: string;
  /** The arguments as the model wrote them: JSON, as a rule. */
  arguments: string;
}

/** A message of a conversation. */
export interface Message {
  role: Role;
  /** The text, or the parts; empty for an answer of tool calls alone. */
  content: string | ContentPart[];
  /** The tools that an assistant's message calls; else empty. */
  toolCalls: MessageToolCall[];
  /** The id of the call that a tool's message answers. */
  toolCallId?: string;
  /** The time when it was asked or answered. */
  createdAt: Date;
}

/** Returns a stored message as a conversation's callers see it. */
export function toMessage({ role, content, ...fields }: ProviderMessage, createdAt: Date): Message {
  const calls = fields.tool_calls ?? [];
  return {
    role: role === "developer" ? Role.system : role === "function" ? Role.tool : role,
    content: content ?? "",
    toolCalls: calls.map(({ id, function: { name, arguments: args } }) => ({ id, name, arguments: args })),
    ...(fields.tool_call_id !== undefined && { toolCallId: fields.tool_call_id }),
    createdAt,
  };
}
