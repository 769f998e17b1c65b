import type { CompletionEvent } from "../../calls/completion-result.ts";
import type { Fields } from "./message-request.ts";

/** An event of a streamed message. */
export type MessageEvent = Fields & { type: string };

/** The events of the blocks of an answer. */
export interface BlockEvents {
  /** The message as its provider began it, when that is known. */
  readonly head: Fields | undefined;
  /** Returns what an event of the job says. @throws ApiError when the answer began anew and is another one */
  take(event: CompletionEvent): MessageEvent[];
}
