import type { Job } from "bullmq";
import { jobCatalog } from "../shared/catalog.ts";
import { forgetLostWorkers } from "./bullmq-internals.ts";
import { updateJobData } from "./job-data.ts";
import { clockOf } from "./redis-clock.ts";
import type { Store } from "./store.ts";

/** What a failed job forgets of itself when BullMQ puts it back. */
export const AFRESH = { resetAttemptsMade: true, resetAttemptsStarted: true };

/**
 * Prepares a failed job for an operator's retry, which starts afresh: with the deadline or the count of lost workers that
 * ended the job, it would fail at once.
 */
export async function renewJob(store: Store, job: Job): Promise<void> {
  const data: unknown = job.data;
  if (typeof data === "object" && data !== null && "deadlineAt" in data) {
    const { deadlineMs } = jobCatalog.completion["batch" in data ? "batch" : "interactive"];
    await updateJobData(store, job, { ...data, deadlineAt: (await clockOf(store).fresh()) + deadlineMs });
  }
  await forgetLostWorkers(store, job);
}
