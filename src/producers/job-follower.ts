import { fromErrorRecord } from "../shared/error-record.ts";
import { GlueError, JobLostError } from "../shared/errors.ts";
import { orAborted } from "../shared/or-aborted.ts";
import { modelKeyOf, type ResultRecord } from "../shared/records.ts";
import type { StreamEvent } from "../shared/stream-events.ts";
import { type CompletedRecord, readCompleted } from "../store/completed-record.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { JobRef } from "./job-lookup.ts";
import type { RecordWait } from "./record-wait.ts";
import { StreamFold } from "./stream-fold.ts";
import { readEntries } from "./stream-reader.ts";
import { Wakeup } from "./wakeup.ts";

/** Follows jobs to their ends. */
export class JobFollower {
  readonly #store: ConnectedStore;
  readonly #closing = new AbortController();

  constructor(store: ConnectedStore) {
    this.#store = store;
  }

  /**
   * Waits for the job's end, by a wait that is disposed of then.
   * @param isNew as for `RecordWait.record`
   * @throws the job's error, of its class; JobLostError; the signal's reason, which leaves the job alone.
   */
  async result(
    job: JobRef,
    waiting: Promise<RecordWait>,
    signal: AbortSignal | undefined,
    options: { isNew?: boolean } = {},
  ): Promise<CompletedRecord> {
    const wake = this.#endOf(signal);
    try {
      const record = waiting.then((wait) => wait.record(job, wake, options));
      return await this.#completed(job, await orAborted(wake, record));
    } finally {
      waiting.then(disposeOf, () => {});
    }
  }

  /**
   * The answer's pieces while a worker produces them, from its beginning, then its record. An answer that was not
   * streamed comes in one piece.
   * @throws as `result` does.
   */
  async *stream(
    job: JobRef,
    signal?: AbortSignal,
  ): AsyncGenerator<StreamEvent | { type: "record"; record: CompletedRecord }> {
    const store = this.#store;
    const end = this.#endOf(signal);
    end.throwIfAborted();
    const wakeup = new Wakeup();
    const wake = () => wakeup.wake();
    const listening = store.notifier.listen({ [`result:${job.id}`]: wake, [`stream:${job.id}`]: wake });
    try {
      await orAborted(end, listening);
      const fold = new StreamFold();
      const pages = readEntries(store, job, wakeup);
      for (;;) {
        const { value: page, done } = await orAborted(end, pages.next());
        if (done) return;
        for (const entry of page.entries) yield* fold.take(entry);
        if (!page.record || page.isFull) continue;
        const record = await orAborted(end, this.#completed(job, page.record));
        yield* fold.rest(record.body, record.turns ?? 1);
        yield { type: "record", record };
      }
    } finally {
      listening.then(disposeOf, () => {});
    }
  }

  /** Those who still wait are told so; their jobs go on. */
  close(): void {
    this.#closing.abort(closedError());
  }

  #endOf(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#closing.signal]) : this.#closing.signal;
  }

  async #completed(job: JobRef, record: ResultRecord): Promise<CompletedRecord> {
    const { error, rejected, providerMessage, response } = record;
    const parts = { rejected, providerMessage };
    if (error) throw fromErrorRecord({ ...error, ...parts }, { jobId: job.id, model: modelKeyOf(record) });
    if (!response) throw new JobLostError(job.id);
    return readCompleted(this.#store, record, response);
  }
}

const disposeOf = (used: Disposable) => used[Symbol.dispose]();

function closedError(): GlueError {
  return new GlueError({
    code: "client_closed",
    category: "cancelled",
    message: "the client was closed before the job had ended",
    hint: "the job goes on; its handle can be opened again by its id",
  });
}
