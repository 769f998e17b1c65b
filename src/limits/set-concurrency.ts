import type { Worker } from "bullmq";

/**
 * Sets the jobs that a BullMQ worker has at a time, at once: by itself, BullMQ looks at a raised concurrency only when
 * a job ends, which under a provider's latency may take a minute.
 */
export function setConcurrency(worker: Worker, concurrency: number): void {
  const isMore = concurrency > worker.concurrency;
  worker.concurrency = concurrency;
  // What BullMQ's own resume() does to have its main loop look for jobs again.
  // biome-ignore lint/complexity/useLiteralKeys: TypeScript lets only this form at a private field.
  if (isMore) worker["mainLoopQueue"]?.add(Promise.resolve());
}
