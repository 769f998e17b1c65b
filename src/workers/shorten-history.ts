import type { CompletionPayload } from "../shared/catalog.ts";
import type { ChatCompletion, Message } from "../shared/chat.ts";
import type { HistorySummary } from "../shared/conversation.ts";
import { policyOf } from "../shared/error-policy.ts";
import { TokenLimitError } from "../shared/errors.ts";
import { textTokens } from "../shared/token-estimate.ts";
import { wireOfSideCall } from "../shared/wire-options.ts";
import { keepSummary, readSummary } from "../store/conversation-summary.ts";
import type { JobJournal } from "../store/job-journal.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import { countCall } from "../store/usage.ts";
import type { WorkerContext } from "./context.ts";
import { withNamedTools } from "./conversation.ts";
import { type History, olderHalf, tokensOf } from "./history.ts";
import type { CallInput } from "./provider-call.ts";
import { callOrCached } from "./response-cache.ts";

/** A job, and what its calls have in common. */
export interface CallsInput extends Omit<CallInput, "request" | "requestId" | "onDelta" | "isRepeated"> {
  payload: CompletionPayload;
  /** Present when the job may take several calls. */
  journal: JobJournal | undefined;
  /** BullMQ's count of attempts used up. */
  attemptsMade: number;
}

/** The most that a summary may take of later requests. */
const MAX_SUMMARY_TOKENS = 1000;
/** A shorter summary says nothing; and one takes at most this share of what it replaces, or it is not worth its call. */
const MIN_SUMMARY_TOKENS = 40;
const MAX_SUMMARY_SHARE = 0.25;
const WORDS_PER_TOKEN = 0.6;

const INSTRUCTIONS =
  "Summarize our conversation so far, so that it can go on from your summary alone. Keep names, numbers, facts, decisions, what I asked for, what the tools brought, and what is still open. Do not answer anything and do not go on with it.";

/**
 * Shortens the history of a job as its `trim` says: the oldest turns are left out, or a call of its own summarizes them
 * first. A summary is journaled before it is used, and kept with its conversation: nobody pays for it twice.
 */
export class HistoryShortener {
  readonly #context: WorkerContext;
  readonly #input: CallsInput;
  readonly #history: History;

  private constructor(context: WorkerContext, input: CallsInput, history: History) {
    this.#context = context;
    this.#input = input;
    this.#history = history;
  }

  /**
   * Returns the shortener of a job's history, which is as short as `trim.maxTokens` says from then on.
   * @throws TokenLimitError when no summary can make it so; what the call of a summary throws
   */
  static async begin(context: WorkerContext, input: CallsInput, history: History): Promise<HistoryShortener> {
    const shortener = new HistoryShortener(context, input, history);
    const { maxTokens, summary } = input.payload.trim ?? {};
    if (summary) await shortener.#takeUp();
    if (maxTokens === undefined) return shortener;
    if (summary) await shortener.#summarizeTo(maxTokens);
    else history.leaveOut(history.excess(maxTokens));
    return shortener;
  }

  /** Shortens a history whose request was refused for its length; false when that is no remedy. */
  async afterRefusal(error: unknown): Promise<boolean> {
    const { trim } = this.#input.payload;
    const count = trim ? olderHalf(this.#history, error) : 0;
    if (count === 0) return false;
    if (trim?.summary) await this.#summarize(count, MAX_SUMMARY_TOKENS);
    else this.#history.leaveOut(count);
    return true;
  }

  /** Goes on from the summaries that are there: of the conversation, and of this job before a crash. */
  async #takeUp(): Promise<void> {
    const { payload, journal } = this.#input;
    const { conversation } = payload;
    const kept = conversation && (await readSummary(this.#context.store, conversation.id));
    if (kept) this.#history.replace(kept);
    const own = journal?.summaries.at(-1)?.past;
    if (!own || own.turns < (kept?.turns ?? 0)) return;
    this.#history.replace(own);
    await this.#keep(own);
  }

  /** To about half, so that not every call has to summarize anew. */
  async #summarizeTo(maxTokens: number): Promise<void> {
    const history = this.#history;
    if (history.tokens <= maxTokens) return;
    const roomTokens = Math.floor((maxTokens - history.fixedTokens) / 2);
    if (roomTokens < 0) throw noHelp(history.fixedTokens, maxTokens);
    const goalTokens = history.fixedTokens + roomTokens;
    const summaryTokens = Math.min(MAX_SUMMARY_TOKENS, Math.floor(roomTokens / 2));
    while (history.tokens > goalTokens && history.turns.length > 0)
      await this.#summarize(history.excess(goalTokens - summaryTokens), summaryTokens, maxTokens);
  }

  /**
   * Puts a summary in the place of the oldest turns, as many at a time as a request may hold. They are left out without
   * one where it would save nothing, or where the model does not take them.
   */
  async #summarize(
    count: number,
    summaryTokens: number,
    maxTokens = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const history = this.#history;
    for (let taken = count; ; taken = Math.ceil(taken / 2)) {
      const said = history.shown(taken);
      const length = Math.floor(Math.min(summaryTokens, tokensOf(said) * MAX_SUMMARY_SHARE));
      const asked = this.#question(said, length);
      const isTooLong = tokensOf(asked) > maxTokens;
      if (isTooLong && taken > 1) continue;
      if (isTooLong || length < MIN_SUMMARY_TOKENS) return history.leaveOut(taken);
      try {
        const text = await this.#pay(asked, taken, length);
        return history.replace(history.without(taken, text));
      } catch (error) {
        // What the provider refuses of these messages it would refuse each time.
        if (policyOf(error).spoils !== "messages") throw error;
        if (!(error instanceof TokenLimitError) || taken === 1) return history.leaveOut(taken);
      }
    }
  }

  #question(said: readonly Message[], summaryTokens: number): Message[] {
    const { instructions = INSTRUCTIONS } = this.#input.payload.trim?.summary ?? {};
    const length = `Write at most ${Math.floor(summaryTokens * WORDS_PER_TOKEN)} words, and nothing but the summary.`;
    return [...said, { role: "user", content: `${instructions}\n${length}` }];
  }

  /** Asks for the summary of the oldest `count` turns, and keeps it before anybody uses it. */
  async #pay(messages: Message[], count: number, summaryTokens: number): Promise<string | undefined> {
    const { payload, attemptsMade, journal, ...input } = this.#input;
    const { store } = this.#context;
    const paidBefore = journal?.summaries.length ?? 0;
    const call = await callOrCached(this.#context, {
      ...input,
      payload,
      request: withNamedTools({ messages }),
      wire: wireOfSideCall(payload.wire),
      isWorthKeeping: (body) => textOf(body) !== "",
      requestId: `${payload.requestId}-summary-${paidBefore}`,
      isRepeated: attemptsMade > (journal?.attemptsMade ?? 0),
    });
    // Where there is none, an older one stays.
    const text = cutTo(textOf(call.body), summaryTokens) || this.#history.past.text;
    const past = this.#history.without(count, text);
    await journal?.append({ kind: "summary", call, past, attemptsMade });
    await this.#keep(past);
    if (!call.fromCache) await countCall(store, call);
    return text;
  }

  async #keep(past: HistorySummary): Promise<void> {
    const { payload, jobId, logger } = this.#input;
    const { conversation } = payload;
    if (!conversation) return;
    await untilTaken(logger, () => keepSummary(this.#context.store, jobId, conversation, past));
  }
}

function textOf(body: ChatCompletion): string {
  return body.choices[0]?.message.content?.trim() ?? "";
}

/** A model that writes more than it was asked for must not make the request as long as it was. */
function cutTo(text: string, tokens: number): string {
  if (textTokens(text) <= tokens) return text;
  const share = tokens / textTokens(text);
  return text.slice(0, Math.floor(text.length * share)).toWellFormed();
}

function noHelp(fixedTokens: number, maxTokens: number): TokenLimitError {
  return new TokenLimitError({
    message: `what the call asks, with its instructions, has about ${fixedTokens} tokens, more than trim.maxTokens (${maxTokens}): no summary of the history can help`,
    hint: "send less, or raise trim.maxTokens",
  });
}
