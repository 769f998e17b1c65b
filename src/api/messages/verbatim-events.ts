import { messageBody } from "../../batch/answer-forms.ts";
import type { CompletionEvent, CompletionResult } from "../../calls/completion-result.ts";
import { fieldsOf, isObject } from "../../shared/json.ts";
import { toldOnce } from "../told-answer.ts";
import { ToldText } from "../told-text.ts";
import type { BlockEvents, MessageEvent } from "./message-event.ts";
import type { Fields } from "./message-request.ts";

/** What a client was told of a block. */
interface ToldBlock {
  /** By the type of the delta. */
  deltas: Map<string, ToldText>;
  isStopped: boolean;
}

const TEXTS = ["text", "thinking", "signature", "partial_json"];

/** The events of an answer that was asked in Anthropic's own words: the provider's, each told once. */
export class VerbatimEvents implements BlockEvents {
  readonly #blocks: ToldBlock[] = [];
  #head: Fields | undefined;

  get head(): Fields | undefined {
    return this.#head;
  }

  take(event: CompletionEvent): MessageEvent[] {
    if (event.type === "restart" || event.type === "turn") this.#restart();
    if (event.type === "result") return this.#rest(event.result);
    if (event.type !== "vendor") return [];
    const { type, index, message, content_block: block, delta } = event.event;
    if (type === "message_start") this.#head ??= fieldsOf(message);
    if (typeof index !== "number") return [];
    if (type === "content_block_start") {
      const given = fieldsOf(block);
      // Some servers write the first piece into the beginning.
      const first = given.type === "tool_use" ? [] : deltasOf(given);
      return [...this.#start(index, given), ...first.flatMap((each) => this.#delta(index, each))];
    }
    if (type === "content_block_delta") return this.#delta(index, fieldsOf(delta));
    return this.#stop(index);
  }

  #restart(): void {
    for (const { deltas } of this.#blocks) for (const told of deltas.values()) told.restart();
  }

  /** What of the whole answer did not come in events: it was in the cache, or parts of the stream were lost. */
  #rest({ rawResponse }: CompletionResult): MessageEvent[] {
    this.#restart();
    const content = messageBody(rawResponse).content;
    const calls = rawResponse.choices[0]?.message.tool_calls ?? [];
    const blocks = Array.isArray(content) ? content.filter(isObject) : [];
    return blocks.flatMap((block, index) => {
      if (this.#blocks[index]?.isStopped) return [];
      const input = calls.find(({ id }) => id === block.id)?.function.arguments;
      return [
        ...this.#start(index, block),
        ...deltasOf(block, input).flatMap((delta) => this.#delta(index, delta)),
        ...this.#stop(index),
      ];
    });
  }

  #start(index: number, block: Fields): MessageEvent[] {
    if (this.#blocks[index]) return [];
    this.#blocks[index] = { deltas: new Map(), isStopped: false };
    return [{ type: "content_block_start", index, content_block: { ...block, ...emptied(block) } }];
  }

  /** A text goes on from what was told of it; what is no text is told whole. */
  #delta(index: number, delta: Fields): MessageEvent[] {
    const block = this.#blocks[index];
    if (!block) return [];
    const name = TEXTS.find((each) => typeof delta[each] === "string");
    const type = String(delta.type);
    const told = block.deltas.get(type) ?? new ToldText();
    block.deltas.set(type, told);
    const added = toldOnce(told.take(name ? String(delta[name]) : `${JSON.stringify(delta)}\n`));
    if (added === "") return [];
    return [{ type: "content_block_delta", index, delta: name ? { ...delta, [name]: added } : delta }];
  }

  #stop(index: number): MessageEvent[] {
    const block = this.#blocks[index];
    if (!block || block.isStopped) return [];
    block.isStopped = true;
    return [{ type: "content_block_stop", index }];
  }
}

/** What of a block comes in deltas after its start. */
function emptied({ type }: Fields): Fields {
  if (type === "text") return { text: "" };
  if (type === "thinking") return { thinking: "", signature: "" };
  return type === "tool_use" ? { input: {} } : {};
}

function deltasOf({ type, text, thinking, signature, citations, input }: Fields, written?: string): Fields[] {
  if (type === "text") {
    const cited = Array.isArray(citations) ? citations : [];
    return [
      ...cited.map((citation) => ({ type: "citations_delta", citation })),
      { type: "text_delta", text: String(text ?? "") },
    ];
  }
  if (type === "thinking")
    return [
      { type: "thinking_delta", thinking: String(thinking ?? "") },
      { type: "signature_delta", signature: String(signature ?? "") },
    ];
  if (type !== "tool_use") return [];
  return [{ type: "input_json_delta", partial_json: written ?? JSON.stringify(input ?? {}) }];
}
