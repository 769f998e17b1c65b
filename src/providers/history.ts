import type { Message } from "../shared/chat.ts";
import { sha256 } from "../shared/digest.ts";
import { isObject, parseJson } from "../shared/json.ts";

type ToolCall = NonNullable<Message["tool_calls"]>[number];

/** What a provider takes as ids of tool calls and as names of tools. */
export interface Alphabet {
  callId: RegExp;
  toolName: RegExp;
}

/** OpenAI's: ids of up to 40 characters. */
export const OPENAI_ALPHABET: Alphabet = {
  callId: /^[a-zA-Z0-9_-]{1,40}$/,
  toolName: /^[a-zA-Z0-9_-]{1,64}$/,
};
export const ANTHROPIC_ALPHABET: Alphabet = {
  callId: /^[a-zA-Z0-9_-]{1,64}$/,
  toolName: /^[a-zA-Z0-9_-]{1,128}$/,
};
/** Mistral's, and that of servers with its models: ids are nine letters and digits. */
export const MISTRAL_ALPHABET: Alphabet = { ...OPENAI_ALPHABET, callId: /^[a-zA-Z0-9]{9}$/ };

/** A message as a provider takes it, and the place in the request of the message that it was. */
export interface HistoryMessage {
  message: Message;
  at: number;
}

const NOT_RUN = "Error: this call was not run.";
/** The name of a call that has none. */
const NAMELESS = "unnamed_tool";
const MAX_NAME_CHARS = 64;

/**
 * Returns messages as a provider takes them, whoever wrote them: each tool call has a name and an id of the alphabet, which
 * no other has, a JSON object as its arguments, and its result right behind it; a call without result is answered with an
 * error, a result without call becomes a text; blank texts fall away. Nothing that a conversation holds can make a request
 * unusable.
 */
export function validHistory(messages: readonly Message[], alphabet: Alphabet): HistoryMessage[] {
  const results = new ToolResults(messages);
  const ids = new CallIds(alphabet.callId);
  return messages.flatMap((message, at): HistoryMessage[] => {
    if (message.role === "tool")
      return results.isTaken(at) ? [] : asText(message).map((text) => ({ message: text, at }));
    const calls = (message.role === "assistant" && message.tool_calls) || [];
    const kept = withoutBlanks(message);
    if (calls.length === 0) return kept ? [{ message: withoutCalls(kept), at }] : [];
    const renamed = calls.map((call) => ({ ...validCall(call, alphabet), id: ids.next(call.id) }));
    const answers = results.take(at, calls).map((from, j): HistoryMessage => {
      const given: Message = (from !== undefined && messages[from]) || { role: "tool", content: NOT_RUN };
      return { message: toResult(given, renamed[j] as ToolCall), at: from ?? at };
    });
    // In the order in which they came; those that are made up last.
    const came = answers.toSorted((a, b) => rank(a, at) - rank(b, at));
    return [{ message: { ...(kept ?? { ...message, content: null }), tool_calls: renamed }, at }, ...came];
  });
}

/** Returns messages with tool calls in place of the functions of OpenAI's older models. */
export function withoutFunctions(messages: readonly Message[]): Message[] {
  let id: string | undefined;
  return messages.map((message, at) => {
    if (message.role === "function") return { ...message, role: "tool", tool_call_id: id };
    const { function_call: called, ...rest } = message as Message & { function_call?: unknown };
    if (!isObject(called)) return message;
    id = `function_${at}`;
    const { name, arguments: args } = called;
    const call: ToolCall = {
      id,
      type: "function",
      function: { name: String(name ?? ""), arguments: String(args ?? "") },
    };
    return { ...rest, tool_calls: [...(rest.tool_calls ?? []), call] } as Message;
  });
}

/** Returns the name of a tool in the characters that providers take. */
export function validToolName(name: string, { toolName }: Alphabet = OPENAI_ALPHABET): string {
  if (toolName.test(name)) return name;
  const clean = name.replace(/[^a-zA-Z0-9_-]+/g, "_").slice(0, MAX_NAME_CHARS);
  return /[a-zA-Z0-9]/.test(clean) ? clean : NAMELESS;
}

/** Returns whether a text has nothing to say; Anthropic, Bedrock and Gemini refuse such texts. */
export function isBlank(text: string | null | undefined): boolean {
  return !text || text.trim() === "";
}

/** Returns what stands in for a part that a provider does not take, of a message that another one has answered. */
export function untoldPart({ type }: { type: string }): string {
  return `[a part of the type ${type}, which is not shown here]`;
}

/** Which result answers which call. */
class ToolResults {
  readonly #messages: readonly Message[];
  readonly #taken = new Set<number>();
  /** By the id that they name: where results stand, and where calls. */
  readonly #results = new Map<string, number[]>();
  readonly #calls = new Map<string, number[]>();

  constructor(messages: readonly Message[]) {
    this.#messages = messages;
    for (const [at, { role, tool_call_id: id, tool_calls: calls }] of messages.entries()) {
      if (role === "tool" && id) addTo(this.#results, id, at);
      for (const call of (role === "assistant" && calls) || []) addTo(this.#calls, call.id, at);
    }
  }

  isTaken(at: number): boolean {
    return this.#taken.has(at);
  }

  /** Returns where the result of each call of a message stands; undefined where there is none. */
  take(at: number, calls: readonly ToolCall[]): (number | undefined)[] {
    const nameless = this.#namelessAfter(at);
    return calls.map(({ id }) => {
      // A later message may use the id again: what stands behind that one is its own.
      const end = this.#calls.get(id)?.find((place) => place > at) ?? Number.POSITIVE_INFINITY;
      const isOwn = (place: number) => place > at && place < end && !this.#taken.has(place);
      const found = this.#results.get(id)?.find(isOwn) ?? nameless.shift();
      if (found !== undefined) this.#taken.add(found);
      return found;
    });
  }

  /** Results right behind a message that name no call: they have the order of the calls. */
  #namelessAfter(at: number): number[] {
    const places: number[] = [];
    for (let next = at + 1; this.#messages[next]?.role === "tool"; next++)
      if (!this.#messages[next]?.tool_call_id) places.push(next);
    return places;
  }
}

/** Gives each call an id of its own. The same history has the same ids each time, or no provider could cache it. */
class CallIds {
  readonly #allowed: RegExp;
  readonly #used = new Set<string>();

  constructor(allowed: RegExp) {
    this.#allowed = allowed;
  }

  next(given: string): string {
    let id = given;
    for (let n = 0; !this.#allowed.test(id) || this.#used.has(id); n++)
      id = sha256(`${given}#${n}`).slice(0, 9);
    this.#used.add(id);
    return id;
  }
}

function validCall(call: ToolCall, alphabet: Alphabet): ToolCall {
  const { name, arguments: text } = call.function;
  const args = isObject(parseJson(text)) ? text : "{}";
  return { ...call, function: { ...call.function, name: validToolName(name, alphabet), arguments: args } };
}

/** An empty list of calls is refused. */
function withoutCalls({ tool_calls: calls, ...message }: Message): Message {
  return calls && calls.length > 0 ? { ...message, tool_calls: calls } : message;
}

/** Returns a result under the names that its call has now. */
function toResult(given: Message, { id, function: called }: ToolCall): Message {
  const kept = withoutBlanks(given) ?? { ...given, content: "" };
  return { ...kept, tool_call_id: id, ...(given.name !== undefined && { name: called.name }) };
}

/** Returns the message without its blank texts; undefined when nothing is left of it. */
function withoutBlanks(message: Message): Message | undefined {
  const { content, role } = message;
  if (Array.isArray(content)) {
    const parts = content.filter((part) => part.type !== "text" || !isBlank(part.text));
    if (parts.length === content.length) return message;
    return parts.length > 0 ? { ...message, content: parts } : undefined;
  }
  if (!isBlank(content) || role === "function") return message;
  const { audio, function_call: called } = message as { audio?: unknown; function_call?: unknown };
  return audio || called ? message : undefined;
}

/** A result whose call is not there (cut off, or never made) is still worth telling. */
function asText({ content, tool_call_id: id }: Message): Message[] {
  const lead = `Result of the tool call ${id ?? "before"}:`;
  if (Array.isArray(content))
    return [{ role: "user", content: [{ type: "text", text: lead }, ...content] }].flatMap(
      (message) => withoutBlanks(message as Message) ?? [],
    );
  return isBlank(content) ? [] : [{ role: "user", content: `${lead}\n${content}` }];
}

function rank(answer: HistoryMessage, callAt: number): number {
  return answer.at === callAt ? Number.MAX_SAFE_INTEGER : answer.at;
}

function addTo(map: Map<string, number[]>, key: string, value: number): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}
