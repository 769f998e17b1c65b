import { fieldsOf, isObject, parseJson } from "../shared/json.ts";
import { makeCallId } from "./normal-form.ts";
import type { OnDelta } from "./provider.ts";
import { reasoningText } from "./reasoning.ts";
import { StreamTeller } from "./stream-teller.ts";

type Fields = Record<string, unknown>;

/** A block of the answer; `argumentsText` is a tool's input as the model wrote it. */
type Block = Fields & { argumentsText?: string };

/** What a block is, where its own beginning did not come. */
const BLOCK_OF_DELTA: Readonly<Record<string, Fields>> = {
  text_delta: { type: "text", text: "" },
  thinking_delta: { type: "thinking", thinking: "", signature: "" },
  signature_delta: { type: "thinking", thinking: "", signature: "" },
};

/** A stream of Messages events, put together as the `message` that would have come without streaming. */
class MessageStream {
  readonly #tell: StreamTeller;
  readonly #blocks: { index: unknown; block: Block }[] = [];
  #message: Fields = {};
  #isStopped = false;
  readonly #isVerbatim: boolean;

  constructor(onDelta: OnDelta, isVerbatim: boolean) {
    this.#tell = new StreamTeller(onDelta);
    this.#isVerbatim = isVerbatim;
  }

  /** Adds an event. The API may send events of further types at any time. */
  add(event: unknown): void {
    const { type, index, message, content_block: block, delta, usage } = fieldsOf(event);
    if (type === "message_start" && isObject(message)) {
      const { content, usage: counted, ...head } = message;
      const { output_tokens: output, ...input } = fieldsOf(counted);
      if (this.#isVerbatim) this.#tell.vendor({ type, message: { ...message, content: [] } });
      // What is counted before the answer is written is not the whole.
      this.#take({
        ...head,
        usage: message.stop_reason == null ? input : { ...input, output_tokens: output },
      });
      // Some servers send all of a short answer with its beginning.
      for (const whole of Array.isArray(content) ? content : [])
        if (isObject(whole)) this.#open(undefined, whole);
    }
    if (type === "content_block_start" && isObject(block)) this.#open(index, block);
    if (type === "content_block_delta" && isObject(delta)) this.#extend(index, delta);
    if (type === "content_block_stop") this.#close(index);
    if (type === "message_delta" && isObject(delta)) this.#take(delta);
    if (isObject(usage)) this.#take({ usage });
    this.#isStopped ||= type === "message_stop";
  }

  /** Returns the `message` so far; undefined without a stop reason. */
  body(): unknown {
    const { stop_reason: reason } = this.#message;
    // A number says that the answer has ended only where the stream says so, too.
    if (reason == null || reason === "" || (typeof reason !== "string" && !this.#isStopped)) return undefined;
    for (const { block } of this.#blocks) this.#finish(block);
    this.#tell.end();
    return { ...this.#message, content: this.#blocks.map(({ block }) => block) };
  }

  /** What is not known yet is null in either; the last count is the whole. */
  #take({ usage, ...fields }: Fields): void {
    const counted = Object.entries(fieldsOf(usage)).filter(([, value]) => value != null);
    const said = Object.entries(fields).filter(([key, value]) => value != null || !(key in this.#message));
    this.#message = {
      ...this.#message,
      ...Object.fromEntries(said),
      usage: { ...fieldsOf(this.#message.usage), ...Object.fromEntries(counted) },
    };
  }

  #open(index: unknown, given: Fields): void {
    const block: Block = { ...given };
    this.#blocks.push({ index, block });
    if (block.type === "tool_use") {
      const { id, name } = block;
      const isOwn =
        typeof id === "string" && id !== "" && this.#blocks.filter((one) => one.block.id === id).length === 1;
      if (!isOwn) block.id = makeCallId();
      block.argumentsText = "";
      this.#tellBlock("start", block, { content_block: { ...given, id: block.id, input: {} } });
      this.#tell.toolCall(this.#toolIndex(block), {
        id: String(block.id),
        name: String(name ?? ""),
        arguments: "",
      });
    } else {
      this.#tellBlock("start", block, { content_block: given });
      this.#tellPiece(block, block);
    }
  }

  #extend(index: unknown, delta: Fields): void {
    const { type, partial_json: json, citation, ...piece } = delta;
    const block = this.#find(index) ?? this.#openFor(index, type);
    this.#tellBlock("delta", block, { delta });
    if (json != null) {
      const text = typeof json === "string" ? json : JSON.stringify(json);
      block.argumentsText = (block.argumentsText ?? "") + text;
      if (block.type === "tool_use" && text) this.#tell.toolCall(this.#toolIndex(block), { arguments: text });
    }
    if (citation != null) block.citations = [...((block.citations as unknown[] | null) ?? []), citation];
    for (const [key, value] of Object.entries(piece)) {
      if (typeof value === "string") block[key] = (typeof block[key] === "string" ? block[key] : "") + value;
      else if (value != null) block[key] = value;
    }
    this.#tellPiece(block, piece);
  }

  #tellPiece(block: Block, { text, thinking }: Fields): void {
    if (block.type === "text" && typeof text === "string") this.#tell.text(text);
    if (block.type === "thinking") this.#tell.reasoning(reasoningText(thinking), block);
  }

  #close(index: unknown): void {
    const block = this.#find(index);
    if (!block) return;
    this.#finish(block);
    this.#tellBlock("stop", block);
  }

  /** Tells an event of a block as the vendor's clients read it, each block under its own place. */
  #tellBlock(what: "start" | "delta" | "stop", block: Block, fields: Fields = {}): void {
    if (!this.#isVerbatim) return;
    const index = this.#blocks.findLastIndex((one) => one.block === block);
    this.#tell.vendor({ type: `content_block_${what}`, index, ...fields });
  }

  /** A call whose arguments did not come in pieces has them in its beginning, or has none. */
  #finish(block: Block): void {
    if (block.type === "tool_use" && block.argumentsText === "") {
      block.argumentsText = JSON.stringify(block.input ?? {});
      const delta = { type: "input_json_delta", partial_json: block.argumentsText };
      this.#tellBlock("delta", block, { delta });
      this.#tell.toolCall(this.#toolIndex(block), { arguments: block.argumentsText });
    } else if (block.type !== "tool_use" && block.argumentsText !== undefined) {
      const { argumentsText } = block;
      delete block.argumentsText;
      block.input = parseJson(argumentsText) ?? argumentsText;
    }
  }

  /** Some servers leave the index out, or number every block 0: the latest one of an index is the open one. */
  #find(index: unknown): Block | undefined {
    const found = this.#blocks.findLast((one) => one.index === index);
    return (found ?? (index == null ? this.#blocks.at(-1) : undefined))?.block;
  }

  #openFor(index: unknown, type: unknown): Block {
    const block: Block = { ...(BLOCK_OF_DELTA[String(type)] ?? { type: "unknown" }) };
    this.#blocks.push({ index, block });
    this.#tellBlock("start", block, { content_block: { ...block } });
    return block;
  }

  /** Returns the place of a block among the tool calls, as Chat Completions counts them. */
  #toolIndex(block: Block): number {
    return this.#blocks
      .filter(({ block: { type } }) => type === "tool_use")
      .findIndex((one) => one.block === block);
  }
}

/**
 * Reads a stream of Messages to its end and tells its pieces; with `isVerbatim` its events of blocks beside them.
 * @returns the `message` it adds up to; undefined when it ended before its stop reason.
 */
export async function readMessageStream(
  events: AsyncIterable<unknown>,
  onDelta: OnDelta,
  isVerbatim = false,
): Promise<unknown> {
  const stream = new MessageStream(onDelta, isVerbatim);
  for await (const event of events) stream.add(event);
  return stream.body();
}
