import type { ChatRequest, Message } from "../shared/chat.ts";
import { fieldsOf, isObject } from "../shared/json.ts";
import type { ProviderEntry } from "../shared/providers.ts";
import { type Alphabet, MISTRAL_ALPHABET, OPENAI_ALPHABET, untoldPart, validHistory } from "./history.ts";
import type { ModelTraits } from "./model-traits.ts";
import { cannotHonour } from "./unsupported.ts";
import { stateFor, withoutState } from "./vendor-state.ts";

type Fields = Record<string, unknown>;

/** A call in the words of Chat Completions. */
export interface ChatCall {
  entry: ProviderEntry;
  model: string;
  request: ChatRequest;
  /** Fields of the body in the provider's own words. */
  providerOptions: Fields | undefined;
  isStreamed: boolean;
}

const MISTRAL_ADDRESS = /^https?:\/\/[^/?#]*mistral\.ai(:\d+)?([/?#]|$)/i;
const MISTRAL_MODEL = /^(mistral|ministral|magistral|codestral|devstral|pixtral|open-mi[sx]tral)/i;
/** What Google documents for calls that another model made. */
const FOREIGN_SIGNATURE = { google: { thought_signature: "skip_thought_signature_validator" } };

/**
 * Returns the body of a call of Chat Completions. Parameters go out as the request has them, but for the name of the token
 * limit and those that the entry leaves out.
 * @throws InvalidRequestError `unsupported_parameter`
 */
export function toChatBody(call: ChatCall, traits: ModelTraits): Fields {
  const { entry, model, request, providerOptions, isStreamed } = call;
  const { messages, ...parameters } = request;
  const body: Fields = {
    messages: toMessages(call, messages, traits),
    ...toParameters(parameters, entry, traits),
    ...providerOptions,
    ...(isStreamed && { stream: true, stream_options: { include_usage: true } }),
    model,
  };
  if (entry.cacheControl !== "send") leaveOutCacheControl(body, entry);
  return body;
}

function toParameters(
  { max_tokens, max_completion_tokens, ...given }: Omit<ChatRequest, "messages">,
  { dropParameters = [] }: ProviderEntry,
  { maxTokensField }: ModelTraits,
): Fields {
  const limit = max_completion_tokens ?? max_tokens;
  const limits = maxTokensField ? { [maxTokensField]: limit } : { max_tokens, max_completion_tokens };
  const fields: Fields = { ...given, ...withoutAbsent(limits) };
  // An empty list is refused, and so is a choice among no tools.
  if (Array.isArray(fields.tools) && fields.tools.length === 0) delete fields.tools;
  if (fields.tools === undefined && ["none", "auto"].includes(String(fields.tool_choice)))
    delete fields.tool_choice;
  for (const name of dropParameters) delete fields[name];
  return fields;
}

function toMessages({ entry, model }: ChatCall, given: readonly Message[], traits: ModelTraits): Message[] {
  const lastAnswer = given.findLastIndex(({ role }) => role === "assistant");
  const messages = validHistory(given, alphabetOf(entry, model)).map(({ message, at }) =>
    traits.refusesParts && (at < lastAnswer || message.role === "tool") ? inTexts(message) : message,
  );
  const loops = partsOfLoops(messages);
  const written = messages.map((message, i) => {
    const { vendor_state: _, ...asked } = message;
    if (message.role !== "assistant") return asked as Message;
    // Words of our own in answers that a caller gives back as they came.
    const {
      reasoning: _1,
      reasoning_object: _2,
      content_parts: _3,
      response_items: _4,
      ...own
    } = asked as Fields & Message;
    const inLoop = loops[i] ?? false;
    if (traits.refusesState) return withState(withoutState(own as Message), {}, { ...traits, inLoop });
    return withState(own as Message, stateFor(entry.name, message), { ...traits, inLoop });
  });
  // A request of system messages alone, or of blank ones, is the provider's to judge.
  return written.length > 0 ? withFilesApart(written) : [...given];
}

/** A tool's result is texts alone: what else it brought follows the results, as words of the user. */
function withFilesApart(messages: readonly Message[]): Message[] {
  const written: Message[] = [];
  let files: Extract<Message["content"], unknown[]> = [];
  const tell = () => {
    if (files.length > 0) written.push({ role: "user", content: files });
    files = [];
  };
  for (const message of messages) {
    if (message.role !== "tool") tell();
    const { content } = message;
    const others = message.role === "tool" && Array.isArray(content) ? content.filter(isNoText) : [];
    if (others.length === 0) {
      written.push(message);
      continue;
    }
    const texts = (content as typeof others).filter((part) => !isNoText(part));
    written.push({ ...message, content: texts.length > 0 ? texts : "It follows below." });
    files.push({ type: "text", text: `Brought by the tool call ${message.tool_call_id}:` }, ...others);
  }
  tell();
  return written;
}

function isNoText({ type }: { type: string }): boolean {
  return type !== "text";
}

/** What was answered already was taken by another model: this one is told that it is there. */
function inTexts({ content, ...message }: Message): Message {
  if (!Array.isArray(content)) return { ...message, content };
  const texts = content.map((part) =>
    part.type === "text" ? part : { type: "text", text: untoldPart(part) },
  );
  return { ...message, content: texts };
}

function alphabetOf({ baseUrl }: ProviderEntry, model: string): Alphabet {
  const name = model.slice(model.lastIndexOf("/") + 1);
  return MISTRAL_ADDRESS.test(baseUrl) || MISTRAL_MODEL.test(name) ? MISTRAL_ALPHABET : OPENAI_ALPHABET;
}

/** Returns the message with what its provider wants back. */
function withState(
  message: Message,
  { message: kept = {}, calls = [] }: ReturnType<typeof stateFor>,
  { inLoop, needsSignatures, needsReasoning }: ModelTraits & { inLoop: boolean },
): Message {
  // What another API of the entry wants back says nothing here.
  const { reasoning_content: reasoning, response_items: _, content_parts: __, ...fields } = kept;
  const hasCalls = (message.tool_calls?.length ?? 0) > 0;
  const back = { ...fields };
  // Answers without tools take none back: it costs tokens there, and DeepSeek's older models refuse it.
  if (inLoop && reasoning !== undefined) back.reasoning_content = reasoning;
  else if (needsReasoning && hasCalls && message.reasoning_content === undefined) back.reasoning_content = "";
  const written: Message = { ...message, ...back };
  if (!hasCalls) return written;
  const toolCalls = message.tool_calls?.map((call, j) => ({ ...call, ...fieldsOf(calls[j]) }));
  const isSigned = toolCalls?.some((call) => "extra_content" in call);
  // Of parallel calls only the first is signed.
  if (needsSignatures && !isSigned && toolCalls?.[0])
    toolCalls[0] = { ...toolCalls[0], extra_content: FOREIGN_SIGNATURE } as never;
  return { ...written, tool_calls: toolCalls };
}

/** Returns for each message whether it is part of a turn of the user in which tools were called. */
function partsOfLoops(messages: readonly Message[]): boolean[] {
  const parts: boolean[] = [];
  for (let start = 0; start < messages.length; ) {
    let end = start + 1;
    while (end < messages.length && messages[end]?.role !== "user") end++;
    const hasCalls = messages.slice(start, end).some(({ tool_calls: calls }) => (calls?.length ?? 0) > 0);
    for (; start < end; start++) parts.push(hasCalls);
  }
  return parts;
}

/**
 * Takes the marks of prompt caching out where they say nothing, since the provider caches by itself, or refuses them. The
 * answer is the same without them.
 */
export function leaveOutCacheControl(body: Fields, { name, cacheControl }: ProviderEntry): void {
  const visit = (value: unknown, where: string): unknown => {
    if (Array.isArray(value)) return value.map((item, i) => visit(item, `${where}[${i}]`));
    if (!isObject(value) || !("cache_control" in value)) return value;
    if (cacheControl === "refuse" && value.cache_control != null)
      throw cannotHonour(
        `${where}.cache_control`,
        "leave out the marks, or set the entry's cacheControl",
        name,
      );
    const { cache_control: _, ...rest } = value;
    return rest;
  };
  const visitAll = (list: unknown, where: string): unknown =>
    Array.isArray(list)
      ? list.map((item, i) => {
          const at = `${where}[${i}]`;
          const clean = visit(item, at);
          return isObject(clean) && Array.isArray(clean.content)
            ? { ...clean, content: visit(clean.content, `${at}.content`) }
            : clean;
        })
      : list;
  body.messages = visitAll(body.messages, "messages");
  if (body.tools !== undefined) body.tools = visitAll(body.tools, "tools");
}

function withoutAbsent(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
