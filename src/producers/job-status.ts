import type { Queue } from "bullmq";
import { JobLostError } from "../shared/errors.ts";
import type { Settings } from "../shared/settings.ts";
import { SUSPENDED_AT } from "../store/job-waits.ts";
import { readRecord } from "../store/result-record.ts";
import type { Store } from "../store/store.ts";
import { findJob, type JobRef } from "./job-lookup.ts";
import { readQueueStates } from "./queue-states.ts";
import type { ProducerQueues } from "./queues.ts";

/** The state of a job. */
export interface JobStatus {
  /** Where the job stands; `suspended` until a person, or the job of another agent, has answered; `delayed` until its time, its next attempt, or the reason in `waitsFor` has passed. */
  state: "waiting" | "delayed" | "suspended" | "active" | "succeeded" | "failed" | "cancelled";
  /** The reasons why it does not run yet, for people; empty when none is known. */
  waitsFor: string[];
}

export interface StatusContext {
  store: Store;
  settings: Settings;
  queues: ProducerQueues;
}

const MAX_LOOKS = 3;

/** @throws JobLostError when Redis has neither the job nor its result. */
export async function readJobStatus(context: StatusContext, ref: JobRef): Promise<JobStatus> {
  const { store, settings, queues } = context;
  for (let look = 0; look < MAX_LOOKS; look++) {
    // In this order: a job that has ended left its record before.
    const found = await findJob(store, ref);
    const record = await readRecord(store, ref.id);
    // An operator has it retried: BullMQ forgot its attempt, or began another one.
    const isNewer = record && (found?.startedAt === undefined || found.startedAt > record.finishedAt);
    const isRetried = record?.status === "failed" && found && !found.hasEnded && isNewer;
    if (record && !isRetried) return { state: record.status, waitsFor: [] };
    if (!found || found.hasEnded) throw new JobLostError(ref.id);
    const queue = queues.named(found.queue);
    switch (await queue.getJobState(ref.id)) {
      case "active":
        return { state: "active", waitsFor: [] };
      case "delayed":
        return delayed(queue, ref.id);
      case "waiting":
      case "prioritized":
      case "waiting-children": {
        const [state] = await readQueueStates(store, settings, [found.queue]);
        return { state: "waiting", waitsFor: state?.waitsFor ?? [] };
      }
      // It ended, or was removed, between the two questions: asked again, they agree.
    }
  }
  throw new JobLostError(ref.id);
}

async function delayed(queue: Queue, jobId: string): Promise<JobStatus> {
  const job = await queue.getJob(jobId);
  if (!job) return { state: "delayed", waitsFor: [] };
  // Written by the worker that put it back.
  const { waitsFor, [SUSPENDED_AT]: isSuspended } = Object(job.progress) as Record<string, unknown>;
  const reason = waitsFor ?? (job.attemptsMade > 0 ? "its next attempt" : "its time");
  return { state: isSuspended === undefined ? "delayed" : "suspended", waitsFor: [String(reason)] };
}
