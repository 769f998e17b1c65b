import { JobLostError } from "../shared/errors.ts";
import type { ResultRecord } from "../shared/records.ts";
import { type StreamEntry, streamEntrySchema } from "../shared/stream-events.ts";
import type { Store } from "../store/store.ts";
import { findJob, type JobRef, toRecord } from "./job-lookup.ts";
import type { Wakeup } from "./wakeup.ts";

const PAGE_ENTRIES = 100;
/** Pub/sub may drop a message when the connection does. */
const POLL_MS = 1000;

interface Page {
  entries: StreamEntry[];
  lastId: string;
  /** More entries may follow at once. */
  isFull: boolean;
  record: ResultRecord | undefined;
}

/**
 * The entries of a job's stream from its beginning, each once, page by page, until the job has ended; then its record.
 * @param wakeup woken by new entries and by the record
 * @throws JobLostError
 */
export async function* readEntries(store: Store, job: JobRef, wakeup: Wakeup): AsyncGenerator<Page> {
  let lastId = "0";
  let hasEnded = false;
  for (;;) {
    const page = await readPage(store, job.id, lastId);
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

/** The record first: what a worker told, it told before it wrote that. */
async function readPage(store: Store, jobId: string, after: string): Promise<Page> {
  const pipeline = store.redis.pipeline().get(store.keys.result(jobId));
  pipeline.xread("COUNT", PAGE_ENTRIES, "STREAMS", store.keys.stream(jobId), after);
  const [json, streams] = ((await pipeline.exec()) ?? []).map(([error, value]) => {
    if (error) throw error;
    return value;
  }) as [string | null, [string, [string, string[]][]][] | null];
  const entries = streams?.[0]?.[1] ?? [];
  return {
    entries: entries.map(([, fields]) => toEntry(fields)),
    lastId: entries.at(-1)?.[0] ?? after,
    isFull: entries.length === PAGE_ENTRIES,
    record: toRecord(json),
  };
}

function toEntry(fields: string[]): StreamEntry {
  const pairs = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]]] : []));
  return streamEntrySchema.parse(Object.fromEntries(pairs));
}
