import { fieldsOf, isObject } from "../shared/json.ts";
import { type Content, readContent } from "./content.ts";
import { type Answered, bodyOf, type FoundChoice, toChoice, toReply } from "./normal-form.ts";
import type { ProviderReply } from "./provider.ts";
import { unusableAnswer } from "./provider-errors.ts";
import { joinReasoning, reasoningText } from "./reasoning.ts";

type Fields = Record<string, unknown>;

/** What a response says of its answer; the rest repeats the request. */
const OWN = [
  "id",
  "model",
  "status",
  "service_tier",
  "system_fingerprint",
  "background",
  "safety_identifier",
];
const CALLS: readonly unknown[] = ["function_call", "custom_tool_call"];

/**
 * Reads a `response`, as OpenAI or any server of its Responses API writes it. Needed is its output; what else is absent, null or
 * of another type is made up for. What the provider wants back stands beside the normal form as `response_items`.
 * @throws APIConnectionError `invalid_response` when there is no answer in it
 */
export function readResponseAnswer(answered: Answered): Omit<ProviderReply, "charged"> {
  const { entry, call, answer } = answered;
  const data = bodyOf(answered);
  const items = itemsOf(data);
  if (!items) throw unusableAnswer(entry, "it holds no output", answer);
  const choice = toChoice(answered, findChoice(data, items), 0);
  const rest = Object.fromEntries(OWN.filter((name) => data[name] != null).map((name) => [name, data[name]]));
  const made = data.created_at ?? data.created;
  const created = typeof made === "number" ? Math.floor(made) : made;
  // A row of a batch has the vendor's own body as its result.
  const whole = call.request.responses && { response: data };
  return toReply(answered, { usage: { body: data }, rest: { ...rest, created, ...whole } }, [choice]);
}

/** Some servers write the text alone. */
function itemsOf({ output, output_text: text }: Fields): Fields[] | undefined {
  if (Array.isArray(output) && (output.length > 0 || typeof text !== "string"))
    return output.filter(isObject);
  if (typeof output === "string") return [messageOf(output)];
  if (isObject(output)) return [output];
  return typeof text === "string" ? [messageOf(text)] : undefined;
}

function messageOf(text: string): Fields {
  return { type: "message", role: "assistant", content: text };
}

function findChoice(data: Fields, items: readonly Fields[]): FoundChoice {
  const said = items.filter((item) => isMessage(item) && !isCommentary(item));
  const parts = said.flatMap(({ content, text }) => content ?? text ?? []);
  const logprobs = parts.flatMap((part) => fieldsOf(part).logprobs ?? []);
  const kept = keptItems(data, items);
  return {
    choice: { logprobs: logprobs.length > 0 ? { content: logprobs } : null },
    message: { refusal: null, ...(kept.length > 0 && { response_items: kept }) },
    content: contentOf(parts, items),
    reasoning: joinReasoning(items.map(reasoningOf)),
    toolCalls: items.filter(({ type }) => CALLS.includes(type)).map(toCall),
    finishReason: reasonOf(data),
  };
}

/** What tools of the provider's own did stands in the content. */
function contentOf(parts: readonly unknown[], items: readonly Fields[]): Content {
  const read = readContent(parts.map(plain));
  const known = (item: Fields) => isMessage(item) || CALLS.includes(item.type) || item.type === "reasoning";
  const others = items.filter((item) => !known(item));
  if (others.length === 0) return read;
  return { ...read, parts: [...others, ...parts] };
}

/** Notes and probabilities that there are none of make no part a special one. */
function plain(part: unknown): unknown {
  if (!isObject(part) || part.type !== "output_text") return part;
  const { type, text, annotations, logprobs: _, ...rest } = part;
  return {
    type,
    text,
    ...rest,
    ...(Array.isArray(annotations) && annotations.length > 0 && { annotations }),
  };
}

function isMessage({ type, role, content }: Fields): boolean {
  return type === "message" || (type === undefined && (role !== undefined || content !== undefined));
}

/** Returns whether an item is what the model says before it goes on, which is no part of its answer. */
export function isCommentary({ phase }: Fields): boolean {
  return phase === "commentary";
}

/** Returns the text of what the model thought: the summary, or all of it where a server tells that. */
function reasoningOf(item: Fields): string {
  if (item.type === "reasoning") {
    const { summary, content } = item;
    const texts = (value: unknown) =>
      joinReasoning((Array.isArray(value) ? value : [value]).map((one) => reasoningText(one)));
    return texts(summary) || texts(content) || reasoningText(item.text);
  }
  return isMessage(item) && isCommentary(item) ? (readContent(item.content).text ?? "") : "";
}

function toCall({
  type: _,
  id,
  call_id: callId,
  status: __,
  name,
  arguments: args,
  input,
  ...rest
}: Fields): Fields {
  return { ...rest, id: callId ?? id, function: { name, arguments: args ?? input } };
}

/** A response that is neither complete nor incomplete is none: its status is no word of an answer that is whole. */
function reasonOf({ status, incomplete_details: details }: Fields): unknown {
  return status === "incomplete" ? (fieldsOf(details).reason ?? status) : status;
}

/**
 * Returns what goes back to the provider with the answer: its reasoning, and items that only the provider reads, whole and in their
 * place; of messages and calls, which the normal form has, what is beside that. Empty when it wants nothing back.
 */
function keptItems({ store }: Fields, items: readonly Fields[]): Fields[] {
  const kept = items.flatMap((item): Fields[] => {
    const { type, id: _, status: __, ...rest } = item;
    if (type === "reasoning") return isReturnable(item, store) ? [withoutNulls(item)] : [];
    if (CALLS.includes(type)) {
      const { call_id: ___, name: ____, arguments: _____, input: ______, ...beside } = rest;
      return [withoutNulls({ ...beside, type: "function_call" })];
    }
    if (!isMessage(item)) return [withoutNulls(item)];
    const { phase, role } = rest;
    if (isCommentary(item)) return [withoutNulls({ type, role, phase, content: item.content })];
    return [withoutNulls({ type: "message", phase })];
  });
  const isPlain = ({ type, ...beside }: Fields) =>
    (type === "message" || type === "function_call") && Object.keys(beside).length === 0;
  return kept.every(isPlain) ? [] : kept;
}

/** Reasoning that is neither in the item nor at the provider cannot go back. */
function isReturnable({ encrypted_content: encrypted, content }: Fields, store: unknown): boolean {
  return typeof encrypted === "string" || (Array.isArray(content) && content.length > 0) || store === true;
}

function withoutNulls(item: Fields): Fields {
  return Object.fromEntries(Object.entries(item).filter(([, value]) => value != null));
}
