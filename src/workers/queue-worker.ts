import { DelayedError, type Job, Queue, Worker } from "bullmq";
import { ConcurrencyController } from "../limits/concurrency-controller.ts";
import { PROFILES } from "../shared/profiles.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { NEVER_LIMITING, setConcurrency } from "../store/bullmq-internals.ts";
import { isRefusal } from "../store/redis-refusal.ts";
import type { WorkerContext } from "./context.ts";
import type { AbortReason } from "./job-attempt.ts";
import { processJob } from "./process-job.ts";
import { PUT_BACK_MS, RetryError } from "./settle.ts";

const ERROR_LOG_MS = 10_000;
const REST_MS = 500;
const CONTROLLER_MS = 250;

/** One queue's BullMQ worker in this process. */
export class QueueWorker {
  readonly #context: WorkerContext;
  /** Undefined for a queue that belongs to no model: no budget governs all its jobs. */
  readonly #key: string | undefined;
  readonly #queue: Queue;
  readonly #worker: Worker;
  /** By job id: ends an attempt that has not called the provider yet. */
  readonly #active = new Map<string, AbortController>();
  readonly #controller: ConcurrencyController;
  readonly #controllerTimer: NodeJS.Timeout;
  /** Why no jobs are taken at present. */
  readonly #holds = new Set<"memory" | "refusal">();
  #lastActiveAt = Date.now();
  #lastErrorLogAt = 0;

  /** @param maxConcurrency jobs at a time at most */
  constructor(context: WorkerContext, name: string, maxConcurrency: number) {
    const { load, settings } = context;
    this.#context = context;
    this.#key = parseCompletionQueueName(name)?.key;
    const { firstConcurrency } = PROFILES[settings.profile];
    this.#controller = new ConcurrencyController({
      maxConcurrency,
      firstConcurrency,
      load,
      onChange: (concurrency) => {
        if (this.#worker) setConcurrency(this.#worker, concurrency);
      },
    });
    this.#controller.knows(this.#hasBudget);
    const shared = { connection: context.store.redis, prefix: context.store.keys.prefix };
    this.#queue = new Queue(name, { ...shared, streams: { events: { maxLen: 1000 } } });
    this.#worker = new Worker(
      name,
      // BullMQ hands the signal only to processors that declare three parameters.
      async (job: Job, token?: string, signal?: AbortSignal) => this.#run(job, token ?? "", signal),
      {
        ...shared,
        concurrency: this.#controller.concurrency,
        limiter: NEVER_LIMITING,
        maximumRateLimitDelay: 1000,
        lockDuration: settings.lockMs,
        stalledInterval: settings.lockMs / 2,
        // Lost workers are counted by processJob, which says what happened.
        maxStalledCount: 50,
        settings: {
          backoffStrategy: (_attempts, _type, error) => (error instanceof RetryError ? error.delayMs : 0),
        },
      },
    );
    this.#worker.on("error", (error) => this.#onError(error));
    this.#queue.on("error", (error) => this.#onError(error));
    this.#worker.on("lockRenewalFailed", (jobIds: string[]) => {
      for (const jobId of jobIds) this.abort(jobId, "lock lost");
    });
    this.#controllerTimer = setInterval(() => this.#followController(), CONTROLLER_MS).unref();
    if (load.isMemoryLow) this.hold("memory");
  }

  /** Milliseconds since a job last ran here; 0 while one does. */
  get idleSinceMs(): number {
    return this.#active.size > 0 ? 0 : Date.now() - this.#lastActiveAt;
  }

  async hasJobs(): Promise<boolean> {
    const counts = await this.#queue.getJobCounts("waiting", "prioritized", "delayed", "active");
    return Object.values(counts).some((count) => count > 0);
  }

  /** Aborts one job's attempt, when it runs here. */
  abort(jobId: string, reason: AbortReason): void {
    if (this.#active.has(jobId)) this.#worker.cancelJob(jobId, reason);
  }

  /** Sends the batch's rows back that wait for their budget: their batch ended. */
  abortBatch(batchId: string): void {
    for (const [jobId, beforeCall] of this.#active) {
      if (jobId.startsWith(`${batchId}-`)) beforeCall.abort();
    }
  }

  /** Takes no jobs until every reason not to has been released. */
  hold(reason: "memory" | "refusal"): void {
    if (this.#holds.size === 0) void this.#worker.pause(true);
    this.#holds.add(reason);
  }

  release(reason: "memory" | "refusal"): void {
    if (this.#holds.delete(reason) && this.#holds.size === 0) void this.#worker.resume();
  }

  async #run(job: Job, token: string, signal: AbortSignal = new AbortController().signal) {
    const jobId = job.id ?? "";
    if (this.#active.has(jobId)) return this.#leaveToFirst(job, token);
    const beforeCall = new AbortController();
    this.#active.set(jobId, beforeCall);
    try {
      return await processJob({
        context: this.#context,
        queue: this.#queue,
        job,
        token,
        signal,
        beforeCall: beforeCall.signal,
        controller: this.#controller,
      });
    } finally {
      this.#active.delete(jobId);
      this.#lastActiveAt = Date.now();
      this.#followController();
    }
  }

  get #hasBudget(): boolean {
    return this.#key !== undefined && this.#context.budgets.of(this.#key) !== undefined;
  }

  #followController(): void {
    this.#controller.knows(this.#hasBudget);
    this.#controller.update(this.#active.size);
  }

  /** This process was held up until the job's lock ran out: the call that it already makes is still good. */
  async #leaveToFirst(job: Job, token: string): Promise<never> {
    await job.moveToDelayed(Date.now() + PUT_BACK_MS, token);
    throw new DelayedError();
  }

  #onError(error: Error): void {
    if (isRefusal(error)) this.#rest();
    const now = Date.now();
    if (now - this.#lastErrorLogAt < ERROR_LOG_MS) return;
    this.#lastErrorLogAt = now;
    this.#context.logger.error({ queue: this.#queue.name, fault: error.message }, "queue worker fault");
  }

  /** BullMQ asks a Redis that refuses writes again at once, thousands of times a second. */
  #rest(): void {
    if (this.#holds.has("refusal")) return;
    this.hold("refusal");
    setTimeout(() => this.release("refusal"), REST_MS).unref();
  }

  /** Takes no more jobs, waits `drainMs` for the active ones, then aborts them so that they go back. */
  async close(drainMs = 0): Promise<void> {
    clearInterval(this.#controllerTimer);
    // pause() would wait for the blocking connection's next answer, up to 5 s; close() cuts it.
    const closed = this.#worker.close().then(() => this.#queue.close());
    await within(drainMs, closed);
    for (const jobId of this.#active.keys()) this.abort(jobId, "draining");
    // With Redis unreachable it ends only when the process's connection does.
    await within(CLOSE_MS, closed);
  }
}
