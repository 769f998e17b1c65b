import type {
  ContentBlockParam,
  MessageParam,
  TextBlockParam,
  ToolUseBlockParam,
} from "@anthropic-ai/sdk/resources/messages/messages";
import { z } from "zod";
import type { Message } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { type Part, toParts } from "./anthropic-parts.ts";
import { cannotHonour } from "./unsupported.ts";

const objectSchema = z.record(z.string(), z.unknown());

/** Returns the system and developer messages, in their order. */
export function toSystem(messages: readonly Message[]): TextBlockParam[] {
  return messages.flatMap((message, i) =>
    isSystem(message) ? toParts(message, i).map((part) => textOnly(part, i)) : [],
  );
}

/**
 * Returns all other messages. Neighbours of one role are joined, since the results of parallel tool calls must stand in
 * one message; empty texts, which Anthropic refuses, fall away.
 * @throws InvalidRequestError naming what Anthropic cannot take
 */
export function toMessages(messages: readonly Message[]): MessageParam[] {
  const joined: { role: "user" | "assistant"; content: ContentBlockParam[] }[] = [];
  messages.forEach((message, i) => {
    if (isSystem(message)) return;
    const role = message.role === "assistant" ? "assistant" : "user";
    const content = toBlocks(message, i);
    const last = joined.at(-1);
    if (content.length === 0) return;
    if (last?.role === role) last.content.push(...content);
    else joined.push({ role, content });
  });
  if (joined.length > 0) return joined;
  throw cannotHonour("messages", "give at least one user message with a text");
}

function isSystem({ role }: Message): boolean {
  return role === "system" || role === "developer";
}

function toBlocks(message: Message, i: number): ContentBlockParam[] {
  switch (message.role) {
    case "assistant":
      return [...toParts(message, i), ...toToolUses(message, i)];
    case "tool":
      if (!message.tool_call_id)
        throw cannotHonour(`messages[${i}]`, "a tool message needs its tool_call_id");
      return [{ type: "tool_result", tool_use_id: message.tool_call_id, content: toParts(message, i) }];
    case "function":
      throw cannotHonour(`messages[${i}].role`, "use tool_calls and tool messages in place of functions");
    default:
      return toParts(message, i);
  }
}

function toToolUses(message: Message, i: number): ToolUseBlockParam[] {
  return (message.tool_calls ?? []).map((call, j) => ({
    type: "tool_use",
    id: call.id,
    name: call.function.name,
    input: toolInput(call.function.arguments, `messages[${i}].tool_calls[${j}].function.arguments`),
  }));
}

function toolInput(text: string, where: string): Record<string, unknown> {
  if (text.trim() === "") return {};
  try {
    return objectSchema.parse(parseExactly(text));
  } catch {
    throw cannotHonour(where, "the arguments of a tool call must be a JSON object");
  }
}

function textOnly(part: Part, i: number): TextBlockParam {
  if (part.type === "text") return part;
  throw cannotHonour(`messages[${i}].content`, "a system message holds text only");
}
