import { fieldsOf, isObject } from "../shared/json.ts";
import { DONE } from "./body.ts";
import { readContent } from "./content.ts";
import { addPart, merge } from "./merge.ts";
import type { OnDelta } from "./provider.ts";
import { reasoningFieldOf, reasoningText } from "./reasoning.ts";
import { StreamTeller } from "./stream-teller.ts";
import { StreamedCalls } from "./streamed-calls.ts";

type Fields = Record<string, unknown>;

/** A stream of `chat.completion.chunk`s, put together as the `chat.completion` that would have come without streaming. */
class ChatStream {
  readonly #tell: StreamTeller;
  readonly #head: Fields = {};
  readonly #choice: Fields = {};
  readonly #message: Fields = {};
  /** A text, or a list of parts. */
  #content: unknown;
  readonly #calls = new StreamedCalls();
  #hasToolCalls = false;
  #hasDeltas = false;
  /** The choice that the text is taken from. */
  #speaker: string | undefined;
  #reasoningField: string | undefined;
  #isFinished = false;

  constructor(onDelta: OnDelta) {
    this.#tell = new StreamTeller(onDelta);
  }

  add(event: unknown): void {
    if (event === DONE) this.#isFinished ||= this.#choice.finish_reason != null;
    // Padding against the reading of lengths on the wire.
    const { choices, obfuscation: _, ...head } = fieldsOf(event);
    for (const [key, value] of Object.entries(head)) this.#addToHead(key, value);
    for (const choice of Array.isArray(choices) ? choices : [choices])
      if (isObject(choice)) this.#addChoice(choice);
  }

  /** Returns the `chat.completion` so far; undefined without a finish reason. */
  body(): unknown {
    if (!this.#isFinished) return undefined;
    this.#tell.end();
    const message = {
      ...this.#message,
      content: this.#content ?? null,
      tool_calls: this.#calls.list(),
    };
    return { ...this.#head, choices: [{ ...this.#choice, message }] };
  }

  /** What is known stays known: some servers write null, nothing or zeros into the chunks before or after. */
  #addToHead(key: string, value: unknown): void {
    const standing = this.#head[key];
    if (isObject(value) && isObject(standing)) this.#head[key] = { ...standing, ...known(value) };
    else if (value != null && value !== "") this.#head[key] = value;
    else this.#head[key] ??= value;
  }

  #addChoice({ delta, message, text, index = 0, finish_reason: reason, usage, ...rest }: Fields): void {
    merge(this.#choice, rest);
    if (isObject(usage)) this.#choice.usage = { ...fieldsOf(this.#choice.usage), ...known(usage) };
    const place = typeof index === "object" ? "" : String(index);
    // MiniMax and others end with the whole message, after its pieces.
    const isRepeated = this.#hasDeltas && !isObject(delta) && isObject(message);
    this.#hasDeltas ||= isObject(delta) && Object.keys(delta).length > 0;
    const piece = isObject(delta) ? delta : isObject(message) ? message : { content: text };
    if (!isRepeated) this.#addDelta(piece, place);
    // A number says that the answer has ended only where the stream says so, too.
    if (reason != null && reason !== "") this.#choice.finish_reason = reason;
    if (typeof reason === "string" && reason !== "") this.#isFinished = true;
  }

  #addDelta(delta: Fields, choice: string): void {
    const { content, tool_calls: calls, function_call: called, ...message } = delta;
    this.#reasoningField ??= reasoningFieldOf(message);
    if (this.#reasoningField)
      this.#tell.reasoning(reasoningText(message[this.#reasoningField]), this.#message);
    merge(this.#message, message);
    this.#addContent(content, choice);
    const pieces = Array.isArray(calls) ? calls : isObject(calls) ? [calls] : [];
    this.#hasToolCalls ||= pieces.length > 0;
    for (const piece of pieces) this.#addCall(piece, choice);
    // Of servers that write calls in both forms the newer one counts.
    if (isObject(called) && !this.#hasToolCalls) this.#addCall({ function: called }, choice);
  }

  #addContent(content: unknown, choice: string): void {
    if (content == null) return;
    const { text, reasoning } = readContent(content);
    if (!this.#reasoningField) this.#tell.reasoning(reasoning, this.#message);
    if (text) {
      this.#speaker ??= choice;
      // Other choices than the one that was asked for say the same in other words.
      if (this.#speaker !== choice) return;
      this.#tell.text(text);
    }
    this.#content = joinContent(this.#content, content);
  }

  #addCall(piece: unknown, choice: string): void {
    const told = this.#calls.add(piece, choice);
    if (told) this.#tell.toolCall(told.index, told);
  }
}

function joinContent(standing: unknown, content: unknown): unknown {
  const piece = typeof content === "object" ? content : String(content);
  if (typeof piece === "string" && (standing === undefined || typeof standing === "string"))
    return (standing ?? "") + piece;
  const parts = Array.isArray(standing) ? standing : standing ? [{ type: "text", text: standing }] : [];
  for (const part of Array.isArray(piece) ? piece : [piece])
    if (part !== "") addPart(parts, typeof part === "string" ? { type: "text", text: part } : part);
  return parts;
}

/** Returns the fields that say something. */
function known(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value != null && value !== 0));
}

/**
 * Reads a stream of one choice to its end and tells its pieces.
 * @returns the `chat.completion` it adds up to; undefined when it ended before its finish reason.
 */
export async function readChatStream(events: AsyncIterable<unknown>, onDelta: OnDelta): Promise<unknown> {
  const stream = new ChatStream(onDelta);
  for await (const event of events) stream.add(event);
  return stream.body();
}
