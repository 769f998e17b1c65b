import type { Message } from "../shared/chat.ts";
import { type HistorySummary, toRequestMessages } from "../shared/conversation.ts";
import { TokenLimitError } from "../shared/errors.ts";
import { estimatePromptTokens } from "../shared/token-estimate.ts";

/** A question with all that answered it: no tool call in it loses its result. */
export interface HistoryTurn {
  messages: Message[];
  tokens: number;
  /** How many turns of its conversation, or list, have ended with it. */
  end: number;
}

/** What a call is asked with. */
export interface HistoryParts {
  /** The instructions in front. */
  prompt: readonly Message[];
  /** What was said before, oldest first, in pieces that belong together. */
  earlier: readonly (readonly Message[])[];
  /** What the call itself asks. */
  own: readonly Message[];
}

const isInstruction = ({ role }: Message) => role === "system" || role === "developer";

/** The head of the message that stands for what a summary has replaced. */
const SUMMARY_HEAD = "Summary of the conversation so far, whose oldest messages are not shown:\n\n";

/**
 * The messages of a job's requests. The oldest turns can be left out, or replaced by a summary; instructions and what the
 * call itself asks always stay.
 */
export class History {
  readonly #prompt: readonly Message[];
  readonly #own: Message[];
  #turns: HistoryTurn[];
  #past: HistorySummary = { turns: 0, instructions: [] };
  /** How many of the call's own messages it was given, before answers and results. */
  #asked: number;

  constructor({ prompt, earlier, own }: HistoryParts) {
    this.#prompt = prompt;
    this.#own = [...own];
    this.#asked = own.length;
    this.#turns = toTurns(earlier);
  }

  get messages(): Message[] {
    const earlier = this.#turns.flatMap(({ messages }) => messages);
    return [...this.#head, ...toRequestMessages(earlier, this.#own)];
  }

  get turns(): readonly HistoryTurn[] {
    return this.#turns;
  }

  /** What stands for the turns that are not shown. */
  get past(): HistorySummary {
    return this.#past;
  }

  get tokens(): number {
    return tokensOf(this.#head) + this.turnTokens + tokensOf(this.#own);
  }

  get turnTokens(): number {
    return this.#turns.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /** The tokens that no shortening saves: of instructions and of what the call itself asks. */
  get fixedTokens(): number {
    const shown = this.#turns.flatMap(({ messages }) => messages.filter(isInstruction));
    return tokensOf([...this.#prompt, ...this.#past.instructions, ...shown, ...this.#own]);
  }

  /** Puts other messages in the place of those that the call was given. */
  rewrite(own: readonly Message[]): void {
    this.#own.splice(0, this.#asked, ...own);
    this.#asked = own.length;
  }

  /** Adds messages of the call itself. */
  push(messages: readonly Message[]): void {
    this.#own.push(...messages);
  }

  /** Returns how many of the oldest turns have to go so that `maxTokens` are left; all when that is not enough. */
  excess(maxTokens: number): number {
    let tokens = this.tokens;
    const count = this.#turns.findIndex((turn) => {
      if (tokens <= maxTokens) return true;
      tokens -= savedBy(turn);
      return false;
    });
    return count < 0 ? this.#turns.length : count;
  }

  /** Returns the messages of the oldest turns, and what stands for those before them; without the call's own instructions. */
  shown(count: number): Message[] {
    return [...this.#standIn, ...this.#turns.slice(0, count).flatMap(({ messages }) => messages)];
  }

  /** Leaves the oldest turns out. */
  leaveOut(count: number): void {
    this.replace(this.without(count));
  }

  /** Returns what stands for the past when the oldest turns are not shown, under the summary `text` of all of it. */
  without(count: number, text = this.#past.text): HistorySummary {
    const taken = this.#turns.slice(0, count);
    const instructions = taken.flatMap(({ messages }) => messages.filter(isInstruction));
    return {
      turns: taken.at(-1)?.end ?? this.#past.turns,
      instructions: [...this.#past.instructions, ...instructions],
      ...(text !== undefined && { text }),
    };
  }

  /** Shows `past` in place of the turns that it stands for, if they are there. */
  replace(past: HistorySummary): void {
    if (past.turns > (this.#turns.at(-1)?.end ?? this.#past.turns)) return;
    this.#turns = this.#turns.filter(({ end }) => end > past.turns);
    this.#past = past;
  }

  get #head(): Message[] {
    return [...this.#prompt, ...this.#standIn];
  }

  get #standIn(): Message[] {
    const { instructions, text } = this.#past;
    const summary: Message[] = text === undefined ? [] : [{ role: "user", content: SUMMARY_HEAD + text }];
    return [...instructions, ...summary];
  }
}

/** Returns a list of messages as the parts of a request: its last question is what the call itself asks. */
export function partsOf(messages: readonly Message[]): HistoryParts {
  const from = messages.findIndex((message) => !isInstruction(message));
  const last = messages.findLastIndex(({ role }) => role === "user");
  if (from < 0 || last <= from) {
    const start = Math.max(0, from);
    return { prompt: messages.slice(0, start), earlier: [], own: messages.slice(start) };
  }
  const earlier = messages.slice(from, last).map((message) => [message]);
  return { prompt: messages.slice(0, from), earlier, own: messages.slice(last) };
}

/** Returns how many of the oldest turns to take after a refusal for the prompt's length; 0 when that is no remedy. */
export function olderHalf(history: History, error: unknown): number {
  if (!(error instanceof TokenLimitError) || history.turns.length === 0) return 0;
  return history.excess(history.tokens - Math.ceil(history.turnTokens / 2));
}

/** A turn begins where a question follows what is none. */
function toTurns(earlier: HistoryParts["earlier"]): HistoryTurn[] {
  const turns: HistoryTurn[] = [];
  let wasQuestion = true;
  for (const [i, messages] of earlier.entries()) {
    const first = messages.find((message) => !isInstruction(message));
    const last = turns.at(-1);
    const isNew = !last || (first?.role === "user" && !wasQuestion);
    if (isNew) turns.push({ messages: [...messages], tokens: tokensOf(messages), end: i + 1 });
    else {
      last.messages.push(...messages);
      last.tokens += tokensOf(messages);
      last.end = i + 1;
    }
    const spoken = messages.findLast((message) => !isInstruction(message));
    if (spoken) wasQuestion = spoken.role === "user";
  }
  return turns;
}

function savedBy({ messages, tokens }: HistoryTurn): number {
  return tokens - tokensOf(messages.filter(isInstruction));
}

export function tokensOf(messages: readonly Message[]): number {
  return estimatePromptTokens({ messages: [...messages] });
}
