import type { CompletionEvent } from "../../calls/completion-result.ts";
import { ToldAnswer } from "../told-answer.ts";
import type { BlockEvents, MessageEvent } from "./message-event.ts";

/** The events of an answer of another dialect: its text is a block, and each tool call is one. */
export class TranslatedEvents implements BlockEvents {
  readonly head = undefined;
  readonly #told = new ToldAnswer();
  /** Of each tool call, the place of its block. */
  readonly #calls = new Map<number, number>();
  #blocks = 0;
  #open: { index: number; isText: boolean } | undefined;

  take(event: CompletionEvent): MessageEvent[] {
    const events = this.#told.take(event).flatMap((piece) => {
      // What a model of another provider thinks has no signature, and nobody asked for it.
      if (piece.type === "reasoning") return [];
      if (piece.type === "text") {
        const opened = this.#open?.isText ? [] : this.#begin(true, { type: "text", text: "" });
        return [...opened, this.#delta({ type: "text_delta", text: piece.text })];
      }
      const known = this.#calls.get(piece.index);
      const call = { type: "tool_use", id: piece.id, name: piece.name, input: {} };
      const opened = known === undefined ? this.#begin(false, call) : [];
      const index = known ?? this.#blocks - 1;
      this.#calls.set(piece.index, index);
      const delta = { type: "input_json_delta", partial_json: piece.arguments };
      return piece.arguments === "" ? opened : [...opened, this.#delta(delta, index)];
    });
    return event.type === "result" ? [...events, ...this.#close()] : events;
  }

  #begin(isText: boolean, block: object): MessageEvent[] {
    const closed = this.#close();
    this.#open = { index: this.#blocks++, isText };
    return [...closed, { type: "content_block_start", index: this.#open.index, content_block: block }];
  }

  #delta(delta: object, index = this.#open?.index): MessageEvent {
    return { type: "content_block_delta", index, delta };
  }

  #close(): MessageEvent[] {
    const open = this.#open;
    this.#open = undefined;
    return open ? [{ type: "content_block_stop", index: open.index }] : [];
  }
}
