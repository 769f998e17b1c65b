import type { Message as ProviderMessage } from "../shared/chat.ts";
import type { ContentPart } from "./content-part.ts";

export const Role = { system: "system", user: "user", assistant: "assistant", tool: "tool" } as const;
export type Role = (typeof Role)[keyof typeof Role];

export interface MessageToolCall {
  id: string;
  name: string;
  /** As the model wrote them: JSON, as a rule. */
  arguments: string;
}

/** A message of a conversation. */
export interface Message {
  role: Role;
  /** Its text, or its parts; empty for an answer of tool calls alone. */
  content: string | ContentPart[];
  /** What an assistant's message calls. */
  toolCalls: MessageToolCall[];
  /** The call that a tool's message answers. */
  toolCallId?: string;
  createdAt: Date;
}

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
