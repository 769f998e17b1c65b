import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import type { ExternalJobUrl, FormatterField, JobStatus, QueueJobJson } from "@bull-board/api/typings/app";
import type { Job, JobType, Queue } from "bullmq";
import { hasRuns } from "../src/shared/catalog.ts";
import { fieldsOf } from "../src/shared/json.ts";
import { parseCompletionQueueName } from "../src/shared/queue-name.ts";
import { isWrongType } from "../src/shared/stored-data.ts";
import { NEVER_LIMITING } from "../src/store/bullmq-internals.ts";
import { openJobData } from "../src/store/job-data.ts";
import { AFRESH, renewJob } from "../src/store/renew-job.ts";
import type { Store } from "../src/store/store.ts";
import { endedJob } from "./ended-job.ts";
import { jobTitle, type NamedJob, readableData, readableSummary, shortened } from "./readable.ts";
import { showRuns } from "./run-job.ts";
import { mayOperate, seesContents, withoutContents } from "./viewer.ts";
import { showReasons } from "./why-waiting.ts";

/** One of our queues on the board: readable jobs, and retries that really run. */
export class QueueAdapter extends BullMQAdapter {
  /** A finished job's result stands: running it again would bring the same record. */
  override readonly allowCompletedRetries = false;
  readonly #queue: Queue;
  readonly #show: (jobs: readonly Job[]) => Promise<void>;
  readonly #store: Store;

  constructor(queue: Queue, store: Store, basePath = "") {
    super(queue, {
      description: queue.name,
      externalJobUrl: (job) => runLink(job, basePath) as ExternalJobUrl,
    });
    this.#queue = queue;
    this.#store = store;
    this.#show = (jobs) => (hasRuns(queue.name) ? showRuns(store, jobs) : showReasons(store, queue, jobs));
    this.setFormatter("name", jobTitle);
    this.setFormatter("data", readableData);
    this.setFormatter("returnValue", readableSummary);
    this.setFormatter("progress", shortened);
    // Bull Board hides what the viewer may not do, and refuses it.
    Object.defineProperty(this, "readOnlyMode", { get: () => !mayOperate() });
  }

  override format(field: FormatterField, value: unknown, instead?: unknown): unknown {
    if (seesContents()) return super.format(field, value, instead);
    if (field === "name") return jobTitle(value as NamedJob, false);
    if (field === "progress") return super.format(field, value, instead);
    return withoutContents(super.format(field, value, instead));
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
    const job = await super.getJob(id).catch(unreadable);
    if (job === undefined) {
      const ended = await endedJob(this.#store, this.#queue, id);
      if (ended && hasRuns(this.#queue.name)) await this.#show([ended]);
      return ended;
    }
    await this.#open([job]);
    await this.#show([job]);
    return this.#retriable(job);
  }

  override async getJobs(statuses: JobStatus[], start?: number, end?: number): Promise<Job[]> {
    const found = await super.getJobs(statuses, start, end).catch(unreadable);
    const jobs = found ?? (await this.#readableJobs(statuses, start, end));
    // A job may go while the list is read.
    await this.#open(jobs.filter(Boolean));
    await this.#show(jobs.filter(Boolean));
    return jobs.map((job) => this.#retriable(job));
  }

  /** What this process cannot decrypt is shown as it is. */
  async #open(jobs: readonly Job[]): Promise<void> {
    await Promise.all(
      jobs.map(async (job) => {
        job.data = await openJobData(this.#store, job.id ?? "", job.data).catch(() => job.data);
      }),
    );
  }

  /** One that cannot be read keeps the others from being read together. */
  async #readableJobs(statuses: JobStatus[], start?: number, end?: number): Promise<Job[]> {
    const ids = await this.#queue.getRanges(statuses as JobType[], start, end);
    const jobs = await Promise.all(ids.map((id) => this.#queue.getJob(id).catch(unreadable)));
    return jobs.filter((job) => job !== undefined);
  }

  /** What the workers wrote of earlier attempts, and how the job ended. */
  override async getJobLogs(id: string): Promise<string[]> {
    const [logs, job] = await Promise.all([super.getJobLogs(id), this.getJob(id)]);
    const end = job?.finishedOn === undefined ? undefined : endOf(job);
    return end === undefined ? logs : [...logs, end];
  }

  #retriable(job: Job): Job {
    const retry = job.retry.bind(job);
    job.retry = async (state) => {
      await renewJob(this.#store, job);
      await retry(state, AFRESH);
    };
    return job;
  }
}

function endOf({ finishedOn = 0, processedOn, failedReason, attemptsMade, returnvalue }: Job): string {
  const took = processedOn === undefined ? "" : ` in ${finishedOn - processedOn} ms`;
  const { model, tokens } = Object(returnvalue) as { model?: string; tokens?: { total?: number } };
  const brought = model === undefined ? "" : `: ${model}, ${tokens?.total ?? 0} tokens`;
  // The reason of an earlier attempt stays on a job that succeeded.
  const hasFailed = failedReason && (returnvalue ?? null) === null;
  const what = hasFailed ? `failed${took}: ${failedReason}` : `succeeded${took}${brought}`;
  return `${new Date(finishedOn).toISOString()} attempt ${Math.max(1, attemptsMade)} ${what}`;
}

/** Where a step's run is on the board; undefined for other jobs. */
function runLink({ data, parentKey }: QueueJobJson, basePath: string): ExternalJobUrl | undefined {
  const { runId } = Object(fieldsOf(data).workflow) as { runId?: string };
  const queue = parentKey?.split(":").at(-2);
  if (runId === undefined || queue === undefined) return undefined;
  return { displayText: "its run", href: `${basePath}/queue/${encodeURIComponent(queue)}/${runId}` };
}

/** For what `gluellm queues repair` shows; other faults are told. */
function unreadable(error: unknown): undefined {
  if (!isWrongType(error) && !(error instanceof SyntaxError)) throw error;
}
