import type {
  ContentBlockParam,
  MessageParam,
  TextBlockParam,
  ToolUseBlockParam,
} from "@anthropic-ai/sdk/resources/messages/messages";
import { z } from "zod";
import type { Message } from "../shared/chat.ts";
import { parseExactly } from "../shared/exact-json.ts";
import { fieldsOf } from "../shared/json.ts";
import { cacheControlOf, type Part, toParts } from "./anthropic-parts.ts";
import {
  ANTHROPIC_ALPHABET,
  type HistoryMessage,
  isBlank,
  validHistory,
  withoutFunctions,
} from "./history.ts";
import { cannotHonour } from "./unsupported.ts";
import { hasServerBlocks, stateFor } from "./vendor-state.ts";

/** Stands in for what came before, where a history begins with an answer. */
const FIRST_WORDS = "(The conversation goes on from here.)";
const THINKING = ["thinking", "redacted_thinking"];
/** Of a message that is asked. */
const TRANSLATED = new Set(["role", "content", "name", "tool_call_id", "cache_control", "vendor_state"]);

const thinkingSchema = z.array(
  z.discriminatedUnion("type", [
    z.looseObject({ type: z.literal("thinking"), thinking: z.string(), signature: z.string() }),
    z.looseObject({ type: z.literal("redacted_thinking"), data: z.string() }),
  ]),
);

/** The messages of a request in the words of Messages. */
export interface MessagesHistory {
  system: TextBlockParam[];
  messages: MessageParam[];
  /** Whether the tool loop that goes on was begun without thinking, which Anthropic then refuses to begin. */
  isLoopWithoutThinking: boolean;
}

interface Options {
  entry: string;
  /** Which thinking of earlier answers goes back: all, that of the tool loop that goes on, or none. */
  thinking: "all" | "loop" | "none";
  /** Other parts of messages that were answered already are told as texts. */
  textsOnly: boolean;
}

type Joined = { role: "user" | "assistant"; content: ContentBlockParam[] };

/**
 * Returns the messages, system and developer ones apart. Neighbours of one role are joined, since the results of parallel
 * tool calls must stand in one message; the first is the user's.
 * @throws InvalidRequestError naming what Anthropic cannot take
 */
export function toHistory(given: readonly Message[], options: Options): MessagesHistory {
  const history = validHistory(withoutFunctions(given), ANTHROPIC_ALPHABET);
  // What the model has answered already was asked of another one, perhaps, and a tool brings what it likes: neither must end
  // the conversation.
  const lastAnswer = given.findLastIndex(({ role }) => role === "assistant");
  const isEarlier = (at: number) => at < lastAnswer || given[at]?.role === "tool";
  const partsOf = (message: Message, at: number) =>
    toParts(message, at, { isEarlier: isEarlier(at), textsOnly: options.textsOnly });
  const [system, talk] = [history.filter(isSystem), history.filter((one) => !isSystem(one))];
  const systemTexts = system.flatMap(({ message, at }) => {
    const texts = partsOf(message, at).map((part) => textOnly(part, at));
    return withCache(texts, cacheControlOf(message)) as TextBlockParam[];
  });
  const loopStart = talk.findLastIndex(({ message }) => message.role === "user");
  const loop = talk.slice(loopStart + 1).filter(({ message }) => message.role === "assistant");
  const thinkingOf = ({ message }: HistoryMessage, i: number) =>
    options.thinking === "all" || (options.thinking === "loop" && i > loopStart)
      ? thinkingBlocks(message, options.entry)
      : [];
  const joined: Joined[] = [];
  for (const [i, one] of talk.entries()) {
    const { message, at } = one;
    if (!isEarlier(at)) refuseUntranslatable(message, at);
    const role = message.role === "assistant" ? "assistant" : "user";
    const thinking = thinkingOf(one, i);
    const whole = options.textsOnly ? undefined : wholeAnswer(message, thinking, options.entry);
    const blocks = whole ?? [...thinking, ...toBlocks(message, partsOf(message, at))];
    if (blocks.length === 0) continue;
    if (joined.at(-1)?.role === role) joined.at(-1)?.content.push(...blocks);
    else joined.push({ role, content: blocks });
  }
  if (joined.length === 0) throw cannotHonour("messages", "give at least one user message with a text");
  trimLastAnswer(joined);
  if (joined[0]?.role === "assistant")
    joined.unshift({ role: "user", content: [{ type: "text", text: FIRST_WORDS }] });
  return {
    system: systemTexts,
    messages: joined,
    isLoopWithoutThinking:
      loop[0] !== undefined &&
      (options.thinking === "none" || thinkingBlocks(loop[0].message, options.entry).length === 0),
  };
}

/** An answer to go on with must not end with white space. */
function trimLastAnswer(joined: readonly Joined[]): void {
  const { role, content = [] } = joined.at(-1) ?? {};
  const last = content.at(-1);
  if (role === "assistant" && last?.type === "text")
    content[content.length - 1] = { ...last, text: last.text.trimEnd() };
}

function isSystem({ message: { role } }: HistoryMessage): boolean {
  return role === "system" || role === "developer";
}

/** What was kept of an answer of this entry; or what the caller gives along, who runs the tools itself. */
function thinkingBlocks(message: Message, entry: string): ContentBlockParam[] {
  const kept = stateFor(entry, message).message?.thinking_blocks ?? message.thinking_blocks;
  return (thinkingSchema.safeParse(kept).data ?? []) as ContentBlockParam[];
}

/** An answer with what Anthropic's own tools brought goes back as it came; undefined for any other message. */
function wholeAnswer(
  message: Message,
  thinking: readonly ContentBlockParam[],
  entry: string,
): ContentBlockParam[] | undefined {
  const kept = stateFor(entry, message).message?.content_parts ?? message.content_parts;
  if (message.role !== "assistant" || !hasServerBlocks(kept)) return undefined;
  const calls = [...(message.tool_calls ?? [])];
  const isKept = ({ type, text }: Record<string, unknown>) =>
    (thinking.length > 0 || !THINKING.includes(String(type))) && !(type === "text" && isBlank(String(text)));
  const blocks = kept.filter(isKept).map((block) => {
    // The ids of calls are those that their results have.
    const call = block.type === "tool_use" ? calls.shift() : undefined;
    return call ? toToolUse(call) : block;
  });
  return [...blocks, ...calls.map(toToolUse)] as ContentBlockParam[];
}

function toBlocks(message: Message, parts: Part[]): ContentBlockParam[] {
  const cached = cacheControlOf(message);
  switch (message.role) {
    case "assistant":
      return withCache([...parts, ...(message.tool_calls ?? []).map(toToolUse)], cached);
    case "tool":
      return [{ type: "tool_result", tool_use_id: message.tool_call_id ?? "", content: parts, ...cached }];
    default:
      return withCache(named(message, parts), cached);
  }
}

/** A mark of the message counts for its last block, up to which the provider caches. */
function withCache(
  blocks: ContentBlockParam[],
  cached: ReturnType<typeof cacheControlOf>,
): ContentBlockParam[] {
  const last = blocks.at(-1);
  return last && Object.keys(cached).length > 0 ? [...blocks.slice(0, -1), { ...last, ...cached }] : blocks;
}

/** Who speaks is part of the text: Messages has no word for it. */
function named({ name }: Message, parts: Part[]): Part[] {
  const [first, ...rest] = parts;
  if (typeof name !== "string" || name === "" || first?.type !== "text") return parts;
  return [{ ...first, text: `${name}: ${first.text}` }, ...rest];
}

/** Fields of answers say something of their provider only. */
function refuseUntranslatable(message: Message, at: number): void {
  if (message.role === "assistant") return;
  const unknown = Object.entries(message).find(([name, value]) => value != null && !TRANSLATED.has(name));
  if (unknown) throw cannotHonour(`messages[${at}].${unknown[0]}`);
}

function toToolUse(call: NonNullable<Message["tool_calls"]>[number]): ToolUseBlockParam {
  const { name, arguments: args } = call.function;
  return {
    type: "tool_use",
    id: call.id,
    name,
    input: fieldsOf(parseExactly(args)),
    ...cacheControlOf(call),
  };
}

function textOnly(part: Part, at: number): TextBlockParam {
  if (part.type === "text") return part;
  throw cannotHonour(`messages[${at}].content`, "a system message holds text only");
}
