import { setImmediate as nextTurn } from "node:timers/promises";
import { toErrorRecord } from "../shared/error-record.ts";
import { encode } from "../shared/serialize.ts";
import { isBlobRef } from "../store/blobs.ts";
import type { UpdatedEntry, UpdateEntry } from "../store/run-journal.ts";
import { inlineOrRunBlob } from "../store/run-record.ts";
import type { Store } from "../store/store.ts";
import { asWorkflowError } from "./run-errors.ts";

type Handler = (data: unknown) => unknown;
type Answer = { value: unknown } | { error: unknown };

/**
 * The updates of a running function: each goes to the handler of its name, in the journal's order, in a replay too, since a
 * handler may change what the function holds. One that comes before its handler waits for it.
 */
export class Updates {
  readonly #handlers = new Map<string, Handler>();
  readonly #early: { entry: UpdateEntry; data: unknown }[] = [];
  /** Found, not known to be recorded. */
  readonly #answers = new Map<string, Answer>();
  readonly #recorded = new Set<string>();
  /** Came, not known to be answered. */
  readonly #open = new Map<string, UpdateEntry>();
  readonly #onAnswer: () => void;

  constructor(onAnswer: () => void) {
    this.#onAnswer = onAnswer;
  }

  handle(name: string, handler: Handler): void {
    this.#handlers.set(name, handler);
    for (const update of this.#early.splice(0)) this.#begin(update.entry, update.data);
  }

  async deliver(entry: UpdateEntry, data: unknown): Promise<void> {
    this.#open.set(entry.id, entry);
    this.#begin(entry, data);
    await nextTurn();
  }

  noteRecorded(id: string): void {
    this.#recorded.add(id);
    this.#open.delete(id);
    this.#answers.delete(id);
  }

  /** Updates whose answer nobody has. */
  get open(): UpdateEntry[] {
    return [...this.#open.values()];
  }

  get hasAnswers(): boolean {
    return this.#answers.size > 0;
  }

  /** Answers that the journal lacks, as its entries. */
  takeAnswers(store: Store, runId: string): Promise<UpdatedEntry[]> {
    const answers = [...this.#answers];
    this.#answers.clear();
    return Promise.all(answers.map(([id, answer]) => updatedEntry(store, runId, id, answer)));
  }

  #begin(entry: UpdateEntry, data: unknown): void {
    const handler = this.#handlers.get(entry.name);
    if (!handler) {
      this.#early.push({ entry, data });
      return;
    }
    const answer = (found: Answer) => {
      if (this.#recorded.has(entry.id)) return;
      this.#answers.set(entry.id, found);
      this.#onAnswer();
    };
    new Promise((resolve) => resolve(handler(data))).then(
      (value) => answer({ value }),
      (error: unknown) => answer({ error }),
    );
  }
}

async function updatedEntry(store: Store, runId: string, id: string, answer: Answer): Promise<UpdatedEntry> {
  const entry: UpdatedEntry = { type: "updated", id, at: Date.now() };
  try {
    if ("error" in answer) throw answer.error;
    const { json, isTyped } = encode(answer.value, "the value of the update");
    if (isTyped) entry.typed = true;
    const stored = json === undefined ? undefined : await inlineOrRunBlob(store, runId, json);
    if (isBlobRef(stored)) entry.blob = stored;
    else entry.value = stored;
  } catch (error) {
    entry.error = toErrorRecord(asWorkflowError(error));
  }
  return entry;
}
