import { estimatePromptTokens } from "../providers/token-estimate.ts";
import type { CompletionPayload } from "../shared/catalog.ts";
import type { Message } from "../shared/chat.ts";
import { TokenLimitError } from "../shared/errors.ts";

const isInstruction = ({ role }: Message) => role === "system" || role === "developer";

/**
 * Takes the oldest turns out of a request's messages: a question with all that answered it, so that no tool call loses its
 * result. Instructions stay, and what the call itself asks.
 */
export class HistoryTrim {
  readonly #messages: Message[];
  readonly #trim: CompletionPayload["trim"];
  readonly #from: number;
  #end: number;

  /**
   * @param messages the request's; they are shortened in place
   * @param end where the messages begin that the call itself brings
   */
  constructor(messages: Message[], end: number, trim: CompletionPayload["trim"]) {
    this.#messages = messages;
    this.#trim = trim;
    this.#end = end;
    const first = messages.findIndex((message) => !isInstruction(message));
    this.#from = first < 0 ? end : first;
    if (trim?.maxTokens !== undefined) this.#fit(trim.maxTokens);
  }

  /** Takes the older half out after a refusal for the prompt's length; false when that is no remedy. */
  halve(error: unknown): boolean {
    if (!this.#trim || !(error instanceof TokenLimitError) || this.#end <= this.#from) return false;
    const history = tokensOf(this.#messages.slice(this.#from, this.#end));
    this.#fit(tokensOf(this.#messages) - Math.ceil(history / 2));
    return true;
  }

  #fit(maxTokens: number): void {
    let tokens = tokensOf(this.#messages);
    while (tokens > maxTokens && this.#end > this.#from) {
      const oldest = this.#messages.slice(this.#from, this.#turnEnd());
      const kept = oldest.filter(isInstruction);
      // Only instructions are left.
      if (kept.length === oldest.length) return;
      this.#messages.splice(this.#from, oldest.length, ...kept);
      this.#end -= oldest.length - kept.length;
      tokens = tokensOf(this.#messages);
    }
  }

  /** Where the turn after the oldest begins: at its question. */
  #turnEnd(): number {
    const passed = (from: number, is: (message: Message) => boolean) => {
      const next = this.#messages.slice(from, this.#end).findIndex((message) => !is(message));
      return next < 0 ? this.#end : from + next;
    };
    const isQuestion = ({ role }: Message) => role === "user";
    const question = passed(this.#from, isInstruction);
    return passed(passed(question, isQuestion), (message) => !isQuestion(message));
  }
}

function tokensOf(messages: readonly Message[]): number {
  return estimatePromptTokens({ messages: [...messages] });
}
