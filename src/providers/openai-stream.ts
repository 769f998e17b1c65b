import { z } from "zod";
import { isObject } from "../shared/json.ts";
import type { OnDelta } from "./provider.ts";

type Fields = Record<string, unknown>;

const toolCallSchema = z.looseObject({
  index: z.number().nullish(),
  id: z.string().nullish(),
  function: z.looseObject({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
});
const chunkSchema = z.looseObject({
  choices: z
    .array(
      z.looseObject({
        delta: z
          .looseObject({ content: z.string().nullish(), tool_calls: z.array(toolCallSchema).nullish() })
          .nullish(),
        finish_reason: z.string().nullish(),
      }),
    )
    .nullish(),
  usage: z.looseObject({}).nullish(),
});
type ToolCallPiece = z.infer<typeof toolCallSchema>;

/** The fields whose text comes whole, and with some servers in every piece again. */
const WHOLE = new Set(["role", "id", "type", "name", "finish_reason", "native_finish_reason"]);

/** The one choice of a stream of `chat.completion.chunk`s, put together as a `chat.completion`. */
class ChatStream {
  readonly #onDelta: OnDelta;
  readonly #head: Fields = {};
  readonly #message: Fields = {};
  readonly #choice: Fields = { index: 0 };
  readonly #toolCalls: Fields[] = [];

  constructor(onDelta: OnDelta) {
    this.#onDelta = onDelta;
  }

  /** Adds a chunk. @throws ZodError when it is none. */
  add(event: unknown): void {
    // Padding against the reading of lengths on the wire.
    const { choices, obfuscation, ...head } = chunkSchema.parse(event) as z.infer<typeof chunkSchema> &
      Fields;
    for (const [key, value] of Object.entries(head)) this.#head[key] = value ?? this.#head[key];
    const [choice] = choices ?? [];
    if (!choice) return;
    const { delta, index, ...rest } = choice;
    merge(this.#choice, rest);
    const { tool_calls: toolCalls, ...message } = delta ?? {};
    merge(this.#message, message);
    if (message.content) this.#onDelta({ type: "text", text: message.content });
    for (const piece of toolCalls ?? []) this.#addToolCall(piece);
  }

  /** Returns the `chat.completion` so far; undefined without a finish reason. */
  body(): unknown {
    if (!this.#choice.finish_reason) return undefined;
    const toolCalls = this.#toolCalls.length > 0 ? { tool_calls: this.#toolCalls } : {};
    const message = { content: null, ...this.#message, ...toolCalls };
    return { ...this.#head, object: "chat.completion", choices: [{ ...this.#choice, message }] };
  }

  #addToolCall({ index: at, ...piece }: ToolCallPiece): void {
    const index = this.#indexOf(at, piece.id);
    const { id, function: called } = piece;
    this.#toolCalls[index] ??= { type: "function" };
    merge(this.#toolCalls[index], piece);
    this.#onDelta({
      type: "toolCall",
      index,
      ...(id && { id }),
      ...(called?.name && { name: called.name }),
      arguments: called?.arguments ?? "",
    });
  }

  /** Returns the place of a call. Some servers leave the index out, or number every call 0: another id is another call. */
  #indexOf(index: number | null | undefined, id: string | null | undefined): number {
    const calls = this.#toolCalls;
    if (!id) return index != null && index < calls.length ? index : Math.max(0, calls.length - 1);
    const known = calls.findIndex((call) => call.id === id);
    return known === -1 ? calls.length : known;
  }
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

/** Adds a piece: texts and lists go on, objects are merged, the rest is replaced. */
function merge(target: Fields, piece: Fields): void {
  for (const [key, value] of Object.entries(piece)) {
    const standing = target[key];
    if (value == null) {
      if (value === null) target[key] ??= null;
    } else if (typeof value === "string" && typeof standing === "string") {
      if (!WHOLE.has(key)) target[key] = standing + value;
      else if (value !== "") target[key] = value;
    } else if (Array.isArray(value) && Array.isArray(standing)) {
      target[key] = [...standing, ...value];
    } else if (isObject(value) && isObject(standing)) {
      merge(standing, value);
    } else {
      target[key] = value;
    }
  }
}
