import type { Message } from "../shared/chat.ts";
import { fieldsOf, isObject } from "../shared/json.ts";
import { OPENAI_ALPHABET, untoldPart, validHistory } from "./history.ts";
import type { ModelTraits } from "./model-traits.ts";
import { cannotHonour } from "./unsupported.ts";
import { stateFor } from "./vendor-state.ts";

type Fields = Record<string, unknown>;
type ToolCall = NonNullable<Message["tool_calls"]>[number];

const WHO = "OpenAI's Responses";
const PART_HINT = "send parts of the types text, image_url and file, or use a model that is asked by chat";

interface Options {
  entry: string;
  /** What it has refused. */
  traits: Pick<ModelTraits, "refusesState" | "refusesParts">;
}

/**
 * Returns messages as the input items of a Responses call. Each tool call and each result is an item of its own; what was kept of
 * an answer (`response_items`) stands where it stood.
 * @throws InvalidRequestError naming what Responses cannot take
 */
export function toInput(given: readonly Message[], options: Options): Fields[] {
  const history = validHistory(given, OPENAI_ALPHABET);
  // What the model has answered already was asked of another one, perhaps, and a tool brings what it likes: neither must end
  // the conversation.
  const lastAnswer = given.findLastIndex(({ role }) => role === "assistant");
  const items = history.flatMap(({ message, at }) => {
    const parts = toParts(message, at, {
      ...options.traits,
      isEarlier: at < lastAnswer || message.role === "tool",
    });
    if (message.role === "function")
      throw cannotHonour(
        `messages[${at}].role`,
        "use tool_calls and tool messages in place of functions",
        WHO,
      );
    if (message.role === "assistant") return answerItems(message, parts, options);
    if (message.role === "tool")
      return [{ type: "function_call_output", call_id: message.tool_call_id ?? "", output: parts }];
    return [{ role: message.role, content: named(message, parts) }];
  });
  // A request of blank messages alone is the provider's to judge.
  return items.length > 0 ? items : given.map(({ role, content }) => ({ role, content: content ?? "" }));
}

function answerItems(message: Message, content: string | Fields[], options: Options): Fields[] {
  const kept = options.traits.refusesState ? [] : keptItems(message, options.entry);
  const calls = (message.tool_calls ?? []).map(toCall);
  let text: Fields[] = content.length > 0 ? [{ role: "assistant", content }] : [];
  const items = kept.flatMap((item): Fields[] => {
    if (item.type === "function_call") return calls.splice(0, 1).map((call) => ({ ...item, ...call }));
    if (item.type !== "message" || "content" in item) return [item];
    const [said] = text;
    text = [];
    return said ? [{ ...item, ...said }] : [];
  });
  return [...items, ...text, ...calls];
}

/** What was kept of an answer of this entry; or what the caller gives along, who runs the tools itself. */
function keptItems(message: Message, entry: string): Fields[] {
  const kept = stateFor(entry, message).message?.response_items ?? message.response_items;
  return Array.isArray(kept) ? kept.filter(isObject) : [];
}

function toCall({ id, function: { name, arguments: args } }: ToolCall): Fields {
  return { type: "function_call", call_id: id, name, arguments: args };
}

/** Who speaks is part of the text: Responses has no word for it. */
function named({ name }: Message, content: string | Fields[]): string | Fields[] {
  if (typeof name !== "string" || name === "") return content;
  if (typeof content === "string") return `${name}: ${content}`;
  const [first, ...rest] = content;
  return typeof first?.text === "string" ? [{ ...first, text: `${name}: ${first.text}` }, ...rest] : content;
}

function toParts(
  { role, content }: Message,
  at: number,
  { isEarlier, refusesParts }: { isEarlier: boolean; refusesParts?: boolean | undefined },
): string | Fields[] {
  if (!Array.isArray(content)) return content ?? "";
  return content.map((part, i) => {
    try {
      if (refusesParts && isEarlier && part.type !== "text" && role !== "assistant")
        return { type: "input_text", text: untoldPart(part) };
      return role === "assistant" ? toSaid(part) : toPart(part, `messages[${at}].content[${i}]`);
    } catch (error) {
      if (!isEarlier) throw error;
      return { type: "input_text", text: untoldPart(part) };
    }
  });
}

/** Fields beside the usual ones, such as marks of a gateway, go along. */
function toPart({ type, ...part }: Fields, where: string): Fields {
  if (type === "text") return { ...part, type: "input_text" };
  if (type === "image_url") {
    const { image_url: given, ...rest } = part;
    const { url, ...image } = typeof given === "string" ? { url: given } : fieldsOf(given);
    return { type: "input_image", image_url: url, ...image, ...rest };
  }
  if (type === "file") {
    const { file, ...rest } = part;
    return { type: "input_file", ...fieldsOf(file), ...rest };
  }
  if (typeof type === "string" && /^input_(text|image|file)$/.test(type)) return { type, ...part };
  const what = type === "input_audio" ? `${where}.input_audio` : where;
  throw cannotHonour(what, type === "input_audio" ? `it takes no sound: ${PART_HINT}` : PART_HINT, WHO);
}

/** A part of an earlier answer. */
function toSaid({ type, text, refusal }: Fields): Fields {
  if (typeof refusal === "string") return { type: "refusal", refusal };
  if (typeof text === "string") return { type: "output_text", text };
  return { type: "output_text", text: untoldPart({ type: String(type) }) };
}
