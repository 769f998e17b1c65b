import { closeSync, openSync, writeSync } from "node:fs";
import { ConfigurationError } from "../shared/errors.ts";
import type { FaultKind } from "./faults.ts";

/** The most entries kept; the oldest go first. */
const MAX_ENTRIES = 1_000_000;

/** One call of a model endpoint. */
export interface JournaledCall {
  /** The number in order of arrival, from 1; it goes on counting after a reset. */
  n: number;
  /** The arrival of the whole request, milliseconds since the epoch with fractions, from a monotonic clock. */
  at: number;
  /** The first 12 hex digits of the SHA-256 of the API key; null when there was none. */
  key: string | null;
  /** The model's name; empty when the request could not be read. */
  model: string;
  dialect: "openai" | "anthropic";
  operation: "chat" | "embeddings";
  /** Hex SHA-256 of the request's canonical JSON; of its bytes when it was no JSON. */
  contentHash: string;
  /** The first 80 characters of that text. */
  lastUserText: string;
  /** The number of assistant messages in the request: 0 in the first call of a conversation. */
  turn: number;
  /** The tools that may be called. */
  toolNames: readonly string[];
  /** Whether a structured answer was asked for. */
  hasAnswerSchema: boolean;
  /** The HTTP status; null as long as none was sent. */
  status: number | null;
  /** The injected fault; a 429 without one came from the limits. */
  fault: FaultKind | "outage" | null;
  /** The end in epoch milliseconds; null while the call is in flight. */
  finishedAt: number | null;
  /** Tokens charged to the buckets (see `ChargePolicy`); both counts are 0 for a request that was not admitted. */
  promptTokens: number;
  completionTokens: number;
  /** Tokens of the prompt that the provider's cache had. */
  cachedTokens: number;
  /** How it was bought: `flex` and `batch` at half the price. */
  lane: "online" | "flex" | "batch";
  /** The provider's batch that it was a row of, and its name there. */
  batchId: string | null;
  customId: string | null;
  /** Whether the client went away before the end of its answer. */
  aborted: boolean;
}

/**
 * The calls in order of arrival. With a file, each entry is appended to it twice as a JSON line, on arrival
 * (before any answer) and when finished: the last line of an `n` counts.
 */
export class CallJournal {
  #entries: JournaledCall[] = [];
  #lastN = 0;
  #file: number | undefined;

  /** Makes a journal. @throws ConfigurationError when its file cannot be opened. */
  constructor(file: string | undefined) {
    try {
      this.#file = file === undefined ? undefined : openSync(file, "a", 0o600);
    } catch (error) {
      throw new ConfigurationError(
        `simulator journal ${file}: ${(error as NodeJS.ErrnoException).code}`,
        "name a file in a folder that exists and may be written to",
      );
    }
  }

  arrived(fields: Omit<JournaledCall, "n" | "finishedAt" | "aborted">): JournaledCall {
    const entry = { n: ++this.#lastN, ...fields, finishedAt: null, aborted: false };
    this.#entries.push(entry);
    // In large steps: moving a million entries for each new one would be slow.
    if (this.#entries.length > MAX_ENTRIES * 1.1) this.#entries = this.#entries.slice(-MAX_ENTRIES);
    this.#append(entry);
    return entry;
  }

  finished(entry: JournaledCall, at: number, aborted: boolean): void {
    entry.finishedAt = at;
    entry.aborted = aborted;
    this.#append(entry);
  }

  /** Returns the entries after number `since`, at most `limit`. They are live: calls in flight still change. */
  entries(since = 0, limit = Number.POSITIVE_INFINITY): readonly JournaledCall[] {
    const oldest = this.#entries[0]?.n ?? 0;
    const from = Math.max(0, since - oldest + 1);
    return this.#entries.slice(from, from + limit);
  }

  reset(): void {
    this.#entries = [];
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #append(entry: JournaledCall): void {
    if (this.#file !== undefined) writeSync(this.#file, `${JSON.stringify(entry)}\n`);
  }
}
