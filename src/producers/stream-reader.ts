import { JobLostError } from "../shared/errors.ts";
import { readStreamPage, type StreamPage } from "../store/job-stream.ts";
import type { Store } from "../store/store.ts";
import { findJob, type JobRef } from "./job-lookup.ts";
import type { Wakeup } from "./wakeup.ts";

/** Pub/sub may drop a message when the connection does. */
const POLL_MS = 1000;

/**
 * Yields the entries of a job's stream from its beginning, each once, page by page, until the job has ended; then its
 * record.
 * @param wakeup woken by new entries and by the record
 * @throws JobLostError
 */
export async function* readEntries(store: Store, job: JobRef, wakeup: Wakeup): AsyncGenerator<StreamPage> {
  let lastId = "0";
  let hasEnded = false;
  for (;;) {
    const page = await readStreamPage(store, job.id, lastId);
    lastId = page.lastId;
    yield page;
    if (page.isFull) continue;
    if (page.record) return;
    if (page.entries.length === 0) {
      // It had ended before this look, and left nothing.
      if (hasEnded) throw new JobLostError(job.id);
      const found = await findJob(store, job);
      hasEnded = !found || found.hasEnded;
      if (hasEnded) continue;
    }
    await wakeup.wait(POLL_MS);
  }
}
