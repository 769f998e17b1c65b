import { InvalidCallError } from "./invalid-call.ts";

/** One message of a request, whatever its dialect. */
export interface Message {
  role: string;
  /** The text parts, joined by line breaks. */
  text: string;
  /** The texts of the tool results it carries. */
  toolResults: readonly string[];
  /** The ids of the tool calls that it makes. */
  callIds: readonly string[];
  /** The ids of the tool calls whose results it has. */
  resultIds: readonly string[];
}

/** What a request's messages say about the call. */
export interface Conversation {
  /** The number of assistant messages in the request: 0 in the first call of a conversation. */
  turn: number;
  /** The system prompt: that of the request, and messages of role `system` or `developer`; "" when there is none. */
  systemText: string;
  /** The last user message with a text; tool results alone are none. */
  lastUserText: string;
  /** The last user message with a `#sim` line, or "". */
  directiveText: string;
  /** The number of assistant messages after that one. */
  directiveTurn: number;
  /** The tool results in the messages after that one. */
  toolResults: readonly string[];
}

const DIRECTIVE_LINE = /^#sim (\{.*\})[ \t\r]*$/m;

/**
 * Returns what messages say about the call.
 * @param system the system prompt that stands beside the messages
 * @throws InvalidCallError when tool calls and results do not match
 */
export function conversationOf(messages: readonly Message[], system = ""): Conversation {
  checkToolResults(messages);
  const at = messages.findLastIndex(({ role, text }) => role === "user" && directiveJson(text) !== undefined);
  const later = messages.slice(at + 1);
  return {
    turn: assistantMessages(messages),
    systemText: [system, ...messages.filter(isSystem).map(({ text }) => text)].filter(Boolean).join("\n"),
    lastUserText: messages.findLast(({ role, text }) => role === "user" && text !== "")?.text ?? "",
    directiveText: messages[at]?.text ?? "",
    directiveTurn: assistantMessages(later),
    toolResults: later.flatMap(({ toolResults }) => toolResults),
  };
}

function isSystem({ role }: Message): boolean {
  return role === "system" || role === "developer";
}

/**
 * Enforces the vendors' rule: each tool call has its result right after the message that made it, each result its call.
 * @throws InvalidCallError
 */
function checkToolResults(messages: readonly Message[]): void {
  const open = new Set<string>();
  for (const [i, { callIds, resultIds }] of messages.entries()) {
    if (resultIds.length === 0) checkAnswered(open, i);
    for (const id of resultIds) {
      if (!open.delete(id))
        throw new InvalidCallError(`messages[${i}]: no tool call "${id}" before it`, "messages");
    }
    for (const id of callIds) open.add(id);
  }
  checkAnswered(open, messages.length);
}

function checkAnswered(open: ReadonlySet<string>, i: number): void {
  const [id] = open;
  if (id === undefined) return;
  throw new InvalidCallError(`messages[${i}]: the tool call "${id}" has no result before it`, "messages");
}

/** Returns the JSON of a text's first `#sim {json}` line; undefined when it has none. */
export function directiveJson(text: string): string | undefined {
  // Most texts have none: the search for a substring is far cheaper than the pattern.
  return text.includes("#sim {") ? DIRECTIVE_LINE.exec(text)?.[1] : undefined;
}

/** Returns the text of a message's `content`: a string, or a list of parts of which some have a `text`. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.flatMap((part: { text?: unknown } | null) => part?.text ?? []).join("\n");
}

function assistantMessages(messages: readonly Message[]): number {
  return messages.filter(({ role }) => role === "assistant").length;
}
