import { messageBody } from "../../batch/answer-forms.ts";
import type { CompletionEvent, CompletionResult } from "../../calls/completion-result.ts";
import type { BlockEvents, MessageEvent } from "./message-event.ts";
import type { Fields } from "./message-request.ts";
import { TranslatedEvents } from "./translated-events.ts";
import { VerbatimEvents } from "./verbatim-events.ts";

const NO_USAGE = {
  input_tokens: 0,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: 0,
};

/** The events of one message, in the order that clients expect. */
export class MessageEvents {
  readonly #id: string;
  readonly #model: string;
  readonly #blocks: BlockEvents;
  #hasBegun = false;

  constructor({ id, model, isVerbatim }: { id: string; model: string; isVerbatim: boolean }) {
    this.#id = id;
    this.#model = model;
    this.#blocks = isVerbatim ? new VerbatimEvents() : new TranslatedEvents();
  }

  /** Returns what an event of the job says. @throws ApiError when the answer began anew and is another one */
  take(event: CompletionEvent): MessageEvent[] {
    const ofBlocks = this.#blocks.take(event);
    const ending = event.type === "result" ? endOf(event.result) : [];
    const begins =
      !this.#hasBegun && (this.#blocks.head !== undefined || ofBlocks.length + ending.length > 0);
    if (!begins) return [...ofBlocks, ...ending];
    this.#hasBegun = true;
    return [this.#begin(), ...ofBlocks, ...ending];
  }

  #begin(): MessageEvent {
    const message = {
      id: this.#id,
      type: "message",
      role: "assistant",
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      ...this.#blocks.head,
      usage: { ...NO_USAGE, ...(this.#blocks.head?.usage as Fields | undefined) },
    };
    return { type: "message_start", message };
  }
}

function endOf({ rawResponse }: CompletionResult): MessageEvent[] {
  const { stop_reason, stop_sequence, stop_details, container, usage } = messageBody(rawResponse);
  const delta = {
    stop_reason,
    stop_sequence,
    ...(stop_details != null && { stop_details }),
    ...(container != null && { container }),
  };
  return [{ type: "message_delta", delta, usage }, { type: "message_stop" }];
}
