import { z } from "zod";
import type { OnDelta } from "./provider.ts";

const blockSchema = z.looseObject({
  type: z.string(),
  text: z.string().optional(),
  id: z.string().optional(),
  name: z.string().optional(),
});
const eventSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("message_start"),
    message: z.looseObject({ usage: z.looseObject({}).nullish() }),
  }),
  z.object({ type: z.literal("content_block_start"), index: z.number(), content_block: blockSchema }),
  z.object({
    type: z.literal("content_block_delta"),
    index: z.number(),
    delta: z.looseObject({ text: z.string().optional(), partial_json: z.string().optional() }),
  }),
  z.object({ type: z.literal("content_block_stop"), index: z.number() }),
  z.object({
    type: z.literal("message_delta"),
    delta: z.looseObject({ stop_reason: z.string().nullish() }),
    usage: z.looseObject({}).nullish(),
  }),
]);
type Event = z.infer<typeof eventSchema>;
const KNOWN: ReadonlySet<unknown> = new Set(eventSchema.options.map(({ shape }) => shape.type.value));

/** A block of the answer; `argumentsText` is a tool call's input as the model wrote it. */
type Block = z.infer<typeof blockSchema> & { argumentsText?: string };

/** A stream of Messages events, put together as a `message`. */
class MessageStream {
  readonly #onDelta: OnDelta;
  readonly #blocks = new Map<number, Block>();
  #message: Record<string, unknown> = {};

  constructor(onDelta: OnDelta) {
    this.#onDelta = onDelta;
  }

  add(event: Event): void {
    switch (event.type) {
      case "message_start":
        this.#message = event.message;
        break;
      case "content_block_start":
        this.#open(event.index, event.content_block);
        break;
      case "content_block_delta":
        this.#extend(event.index, event.delta);
        break;
      case "content_block_stop": {
        // A call without arguments brings no piece of them.
        if (this.#blocks.get(event.index)?.argumentsText === "")
          this.#extend(event.index, { partial_json: "{}" });
        break;
      }
      case "message_delta": {
        // What is not known is null in either; the last count is the whole.
        const counted = Object.entries(event.usage ?? {}).filter(([, value]) => value !== null);
        const usage = { ...(this.#message.usage as object | undefined), ...Object.fromEntries(counted) };
        this.#message = { ...this.#message, ...event.delta, usage };
      }
    }
  }

  /** Returns the `message` so far; undefined without a stop reason. */
  body(): unknown {
    if (!this.#message.stop_reason) return undefined;
    return { ...this.#message, content: [...this.#blocks.values()] };
  }

  #open(index: number, block: Block): void {
    const isToolCall = block.type === "tool_use";
    this.#blocks.set(index, isToolCall ? { ...block, argumentsText: "" } : { ...block });
    if (isToolCall) {
      const { id, name } = block;
      this.#onDelta({ type: "toolCall", index: this.#toolIndex(index), id, name, arguments: "" });
    } else if (block.type === "text" && block.text) {
      this.#onDelta({ type: "text", text: block.text });
    }
  }

  #extend(index: number, { text, partial_json: json }: { text?: string; partial_json?: string }): void {
    const block = this.#blocks.get(index);
    if (block?.type === "text" && text) {
      block.text = (block.text ?? "") + text;
      this.#onDelta({ type: "text", text });
    } else if (block?.argumentsText !== undefined && json) {
      block.argumentsText += json;
      this.#onDelta({ type: "toolCall", index: this.#toolIndex(index), arguments: json });
    }
  }

  /** Returns the place of a block among the tool calls, as Chat Completions counts them. */
  #toolIndex(index: number): number {
    return [...this.#blocks].filter(([at, { type }]) => at < index && type === "tool_use").length;
  }
}

/**
 * Reads a stream of Messages to its end and tells its pieces.
 * @returns the `message` it adds up to; undefined when it ended before its stop reason.
 */
export async function readMessageStream(events: AsyncIterable<unknown>, onDelta: OnDelta): Promise<unknown> {
  const stream = new MessageStream(onDelta);
  for await (const event of events) {
    // The API may send events of further types at any time.
    if (KNOWN.has((event as { type?: unknown } | null)?.type)) stream.add(eventSchema.parse(event));
  }
  return stream.body();
}
