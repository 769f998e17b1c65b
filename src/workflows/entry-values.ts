import { toErrorRecord } from "../shared/error-record.ts";
import { JobLostError } from "../shared/errors.ts";
import type { ResultRecord } from "../shared/records.ts";
import { decode } from "../shared/serialize.ts";
import { bytesOf, isBlobRef, readBlob } from "../store/blobs.ts";
import { type CompletedRecord, readCompleted } from "../store/completed-record.ts";
import type { RunJournalEntry } from "../store/run-journal.ts";
import type { Store } from "../store/store.ts";
import { openRecord } from "../store/stored-record.ts";
import type { Execution } from "./execution.ts";
import { StoredError } from "./step.ts";

/** Answers fetched at a time. */
const RECORD_CHUNK = 100;

/** What the entries of a run's journal stand for: values in the entry itself, in a blob, or in a job's result record. */
export class EntryValues {
  readonly #store: Store;
  readonly #execution: Execution;
  /** Completions' jobs by their steps. */
  readonly #jobs = new Map<string, string>();
  /** Fetched, not asked for yet. */
  readonly #values = new Map<string, unknown>();

  constructor(store: Store, execution: Execution) {
    this.#store = store;
    this.#execution = execution;
  }

  /** Notes whose record the end of a step stands for. */
  expect(step: string, job: string): void {
    this.#jobs.set(step, job);
  }

  /** Returns the value of the entry at `index`, and fetches those of the next ones with it. */
  async of(entries: readonly RunJournalEntry[], index: number): Promise<unknown> {
    const entry = entries[index];
    if (entry?.type !== "signal" && entry?.type !== "ended" && entry?.type !== "update") return undefined;
    const plain = (json: unknown) => {
      this.#execution.deliveredBytes += bytesOf(entry.blob ?? json);
      return entry.typed ? decode(json) : json;
    };
    if (entry.blob) return plain(await readBlob(this.#store, entry.blob));
    if (entry.type !== "ended") return plain(entry.data);
    if (entry.error || "value" in entry) return plain(entry.value);
    if (!this.#values.has(entry.step)) await this.#readRecords(entries, index);
    const value = this.#values.get(entry.step);
    this.#values.delete(entry.step);
    return value;
  }

  /** The answers of the next ended completions, in one round trip. */
  async #readRecords(entries: readonly RunJournalEntry[], from: number): Promise<void> {
    const jobs = new Map<string, string>();
    for (let i = from; i < entries.length && jobs.size < RECORD_CHUNK; i++) {
      const entry = entries[i];
      if (entry?.type !== "ended" || entry.error || entry.blob || "value" in entry) continue;
      const { kind = "completion", asked } = this.#execution.steps.get(entry.step) ?? {};
      const job = asked?.job ?? this.#jobs.get(entry.step);
      if (kind === "completion" && job) jobs.set(entry.step, job);
    }
    if (jobs.size === 0) return;
    const { redis, keys } = this.#store;
    const records = await redis.mget([...jobs.values()].map((job) => keys.result(job)));
    for (const [n, [step, job]] of [...jobs].entries()) {
      this.#values.set(step, await this.#completedRecord(job, records[n] ?? null));
    }
  }

  async #completedRecord(job: string, json: string | null): Promise<CompletedRecord | StoredError> {
    let record: ResultRecord | undefined;
    try {
      record = await openRecord(this.#store, job, json);
    } catch (error) {
      return new StoredError(toErrorRecord(error));
    }
    if (!record) return new StoredError(toErrorRecord(new JobLostError(job)));
    const { response, error, rejected, providerMessage } = record;
    this.#execution.deliveredBytes +=
      (json?.length ?? 0) + (isBlobRef(response?.body) ? response.body.bytes : 0);
    const parts = { rejected, providerMessage };
    if (!response) return new StoredError({ ...(error ?? toErrorRecord(new JobLostError(job))), ...parts });
    return readCompleted(this.#store, record, response);
  }
}

/** Only workers with the run write such entries: its function had gone beyond what came before them. */
export function isOfActivation(entry: RunJournalEntry): boolean {
  return (
    ["asked", "patch", "tried", "updated"].includes(entry.type) ||
    (entry.type === "ended" && entry.own === true)
  );
}
