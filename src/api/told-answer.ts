import type { CompletionEvent } from "../calls/completion-result.ts";
import { ApiError } from "./api-error.ts";
import { ToldText } from "./told-text.ts";

type Piece = Extract<CompletionEvent, { type: "text" | "reasoning" | "toolCall" }>;

/** What a client of the API was told of an answer, which has no word for "forget that". */
export class ToldAnswer {
  readonly text = new ToldText();
  readonly reasoning = new ToldText();
  readonly #arguments: ToldText[] = [];
  readonly #calls: { id: string; name: string }[] = [];

  /**
   * Returns the pieces that an event adds; none for what was told before.
   * @throws ApiError when the answer was begun anew and is another one
   */
  take(event: CompletionEvent): Piece[] {
    if (event.type === "restart" || event.type === "turn") {
      for (const told of [this.text, this.reasoning, ...this.#arguments]) told.restart();
      return [];
    }
    if (event.type === "text" || event.type === "reasoning") {
      const text = toldOnce(this[event.type].take(event.text));
      return text === "" ? [] : [{ type: event.type, text }];
    }
    if (event.type !== "toolCall") return [];
    const { index, id, name } = event;
    const isNew = this.#arguments[index] === undefined;
    this.#arguments[index] ??= new ToldText();
    this.#calls[index] ??= { id: id ?? `call_${index}`, name: name ?? "" };
    const text = toldOnce(this.#arguments[index].take(event.arguments));
    if (text === "" && !isNew) return [];
    return [{ type: "toolCall", index, arguments: text, ...(isNew && this.#calls[index]) }];
  }

  /** The tool calls told so far. */
  get toolCalls(): { id: string; name: string; arguments: string }[] {
    return this.#calls.map((call, index) => ({ ...call, arguments: this.#arguments[index]?.text ?? "" }));
  }
}

/** Returns what a text adds to what was told. @throws ApiError when it is another text */
export function toldOnce(text: string | undefined): string {
  if (text !== undefined) return text;
  throw new ApiError({
    status: 503,
    code: "stream_restarted",
    message: "the worker was lost, and the answer that began anew is another one",
    hint: "ask again; the job goes on, and its id is in the header x-gluellm-job-id",
  });
}
