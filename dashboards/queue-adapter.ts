import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import type { JobStatus } from "@bull-board/api/typings/app";
import type { Job, Queue } from "bullmq";
import { hasRuns, jobCatalog } from "../src/shared/catalog.ts";
import { parseCompletionQueueName } from "../src/shared/queue-name.ts";
import { forgetLostWorkers, NEVER_LIMITING } from "../src/store/bullmq-internals.ts";
import { clockOf } from "../src/store/redis-clock.ts";
import type { Store } from "../src/store/store.ts";
import { jobTitle, readableData, shortened } from "./readable.ts";
import { showRuns } from "./run-job.ts";

/** One of our queues on the board: readable jobs, and retries that really run. */
export class QueueAdapter extends BullMQAdapter {
  /** A finished job's result stands: running it again would bring the same record. */
  override readonly allowCompletedRetries = false;
  readonly #queue: Queue;
  readonly #renew: (job: Job) => Promise<void>;
  readonly #showRuns: (jobs: readonly Job[]) => Promise<void>;

  constructor(queue: Queue, store: Store) {
    super(queue, { description: queue.name });
    this.#queue = queue;
    this.#renew = (job) => renew(store, job);
    this.#showRuns = async (jobs) => (hasRuns(queue.name) ? showRuns(store, jobs) : undefined);
    this.setFormatter("name", jobTitle);
    this.setFormatter("data", readableData);
    this.setFormatter("returnValue", shortened);
    this.setFormatter("progress", shortened);
  }

  /** `entry:model`, as everywhere else. Bull Board's page decodes names twice, so one with a `%` would not open. */
  override getName(): string {
    const queue = this.getQueueName();
    return parseCompletionQueueName(queue)?.key ?? queue;
  }

  /** Only a provider's pause counts: the limiter's counter of the present second limits nobody. */
  override async getActiveRateLimitTtl(): Promise<number> {
    return Math.max(0, await this.#queue.getRateLimitTtl(NEVER_LIMITING.max));
  }

  override async getJob(id: string): Promise<Job | undefined> {
    const job = await super.getJob(id);
    if (job) await this.#showRuns([job]);
    return job && this.#retriable(job);
  }

  override async getJobs(statuses: JobStatus[], start?: number, end?: number): Promise<Job[]> {
    const jobs = await super.getJobs(statuses, start, end);
    // A job may go while the list is read.
    await this.#showRuns(jobs.filter(Boolean));
    return jobs.map((job) => this.#retriable(job));
  }

  #retriable(job: Job): Job {
    const retry = job.retry.bind(job);
    job.retry = async (state) => {
      await this.#renew(job);
      await retry(state, { resetAttemptsMade: true, resetAttemptsStarted: true });
    };
    return job;
  }
}

/**
 * An operator's retry starts afresh: with the deadline or the count of lost workers that ended the job, it
 * would fail at once.
 */
async function renew(store: Store, job: Job): Promise<void> {
  const data: unknown = job.data;
  if (typeof data === "object" && data !== null && "deadlineAt" in data) {
    const { deadlineMs } = jobCatalog.completion["batch" in data ? "batch" : "interactive"];
    await job.updateData({ ...data, deadlineAt: (await clockOf(store).fresh()) + deadlineMs });
  }
  await forgetLostWorkers(store, job);
}
