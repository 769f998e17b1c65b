import { JobLostError } from "../shared/errors.ts";
import type { ResultRecord } from "../shared/records.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { readRecord } from "../store/result-record.ts";
import { findJob, type JobRef } from "./job-lookup.ts";
import { Wakeup } from "./wakeup.ts";

/** Pub/sub may drop a message when the connection does: a look at the record every few seconds makes up for it. */
const POLL_MS = 5000;

/** Waits for the record of one job, and hears of it from the moment on that `begin` resolves. */
export class RecordWait implements Disposable {
  readonly #store: ConnectedStore;
  readonly #wakeup: Wakeup;
  readonly #listener: Disposable;

  static async begin(store: ConnectedStore, jobId: string): Promise<RecordWait> {
    const wakeup = new Wakeup();
    const listener = await store.notifier.listen({ [`result:${jobId}`]: () => wakeup.wake() });
    return new RecordWait(store, wakeup, listener);
  }

  private constructor(store: ConnectedStore, wakeup: Wakeup, listener: Disposable) {
    this.#store = store;
    this.#wakeup = wakeup;
    this.#listener = listener;
  }

  /**
   * Returns the job's record once there is one.
   * @param isNew the job was added after `begin`: it need not be looked for before a message comes
   * @throws JobLostError when Redis has neither the job nor its record; the signal's reason
   */
  async record(job: JobRef, signal: AbortSignal, { isNew = false } = {}): Promise<ResultRecord> {
    const wake = () => this.#wakeup.wake();
    signal.addEventListener("abort", wake, { once: true });
    try {
      if (isNew && !signal.aborted) await this.#wakeup.wait(POLL_MS);
      for (;;) {
        signal.throwIfAborted();
        const record = await this.#look(job);
        if (record) return record;
        await this.#wakeup.wait(POLL_MS);
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  async #look(job: JobRef): Promise<ResultRecord | undefined> {
    const record = await readRecord(this.#store, job.id);
    if (record) return record;
    const found = await findJob(this.#store, job);
    if (found && !found.hasEnded) return undefined;
    // A job that has ended left its record before.
    const last = await readRecord(this.#store, job.id);
    if (last) return last;
    throw new JobLostError(job.id);
  }

  [Symbol.dispose](): void {
    this.#listener[Symbol.dispose]();
  }
}
