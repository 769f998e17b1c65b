import { Queue, UnrecoverableError } from "bullmq";
import { ConcurrencyController } from "../limits/concurrency-controller.ts";
import { PROFILES } from "../shared/profiles.ts";
import { parseCompletionQueueName } from "../shared/queue-name.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { jobHold } from "../store/job-hold.ts";
import { type AbortReason, type ActiveJob, JobLoop } from "../store/job-loop.ts";
import type { WorkerContext } from "./context.ts";
import { processJob } from "./process-job.ts";

const CONTROLLER_MS = 250;

/** One queue's completions in this process. */
export class QueueWorker {
  readonly #context: WorkerContext;
  /** Undefined for a queue that belongs to no model: no budget governs all its jobs. */
  readonly #key: string | undefined;
  readonly #queue: Queue;
  readonly #loop: JobLoop;
  /** By job id: ends an attempt that has not called the provider yet. One signal for all reasons costs least where thousands wait. */
  readonly #beforeCall = new Map<string, AbortController>();
  readonly #controller: ConcurrencyController;
  readonly #controllerTimer: NodeJS.Timeout;

  /** @param maxConcurrency jobs at a time at most */
  constructor(context: WorkerContext, name: string, maxConcurrency: number) {
    const { load, settings, store, logger } = context;
    this.#context = context;
    this.#key = parseCompletionQueueName(name)?.key;
    const { firstConcurrency } = PROFILES[settings.profile];
    this.#controller = new ConcurrencyController({
      maxConcurrency,
      firstConcurrency,
      load,
      onChange: () => {
        if (this.#loop) this.#followConcurrency();
      },
    });
    this.#controller.knows(this.#hasBudget);
    this.#queue = new Queue(name, {
      connection: store.redis,
      prefix: store.keys.prefix,
      streams: { events: { maxLen: 1000 } },
    });
    // The connection's own listener reports faults.
    this.#queue.on("error", () => {});
    this.#loop = new JobLoop({
      store,
      queue: name,
      logger,
      lockMs: settings.lockMs,
      concurrency: this.#controller.concurrency,
      clock: this.#context.clock,
      process: (active) => this.#process(active),
    });
    this.#controllerTimer = setInterval(() => this.#followController(), CONTROLLER_MS).unref();
    this.followMemory();
  }

  /** Milliseconds since a job last ran here; 0 while one does. */
  get idleMs(): number {
    return this.#loop.idleMs;
  }

  /** Aborts one job's attempt, when it runs here. */
  abort(jobId: string, reason: AbortReason): void {
    this.#loop.abort(jobId, reason);
  }

  /** Sends the batch's rows back that wait for their budget: their batch ended. */
  abortBatch(batchId: string): void {
    for (const [jobId, beforeCall] of this.#beforeCall) {
      if (jobId.startsWith(`${batchId}-`)) beforeCall.abort();
    }
  }

  /** Sends all jobs back that wait for their budget: the process takes no more. */
  drain(): void {
    for (const beforeCall of this.#beforeCall.values()) beforeCall.abort();
  }

  /**
   * Takes no jobs while the process has too little memory; one at a time while jobs are in their tools, since those may
   * wait for jobs that are in the queue.
   */
  followMemory(): void {
    const { load, toolPlaces } = this.#context;
    if (load.isMemoryLow && toolPlaces.taken === 0) this.#loop.hold("memory");
    else this.#loop.release("memory");
    this.#followConcurrency();
  }

  #followConcurrency(): void {
    this.#loop.concurrency = this.#context.load.isMemoryLow ? 1 : this.#controller.concurrency;
  }

  async #process(active: ActiveJob): Promise<unknown> {
    const { jobId, token, signal } = active;
    const { jobs, store, settings, draining } = this.#context;
    const beforeCall = new AbortController();
    this.#beforeCall.set(jobId, beforeCall);
    signal.addEventListener("abort", () => beforeCall.abort(), { once: true });
    if (signal.aborted || draining.aborted) beforeCall.abort();
    const hold = { store, queue: this.#queue.name, jobId, token, lockMs: settings.lockMs };
    jobs.active += 1;
    try {
      const returned = await processJob({
        ...active,
        context: this.#context,
        queue: this.#queue,
        beforeCall: beforeCall.signal,
        assertHeld: jobHold(hold),
        controller: this.#controller,
      });
      jobs.ended += 1;
      return returned;
    } catch (error) {
      if (error instanceof UnrecoverableError) jobs.ended += 1;
      throw error;
    } finally {
      jobs.active -= 1;
      this.#beforeCall.delete(jobId);
      this.#context.toolPlaces.attemptEnded(jobId);
      this.#context.flexPlaces.attemptEnded(jobId);
      this.#followController();
    }
  }

  get #hasBudget(): boolean {
    return this.#key !== undefined && this.#context.budgets.of(this.#key) !== undefined;
  }

  #followController(): void {
    this.#controller.knows(this.#hasBudget);
    this.#controller.update(this.#loop.slotsHeld);
    if (this.#context.load.isMemoryLow) this.followMemory();
  }

  /** Takes no more jobs, waits `drainMs` for the active ones, then aborts them so that they go back. */
  async close(drainMs = 0): Promise<void> {
    clearInterval(this.#controllerTimer);
    await this.#loop.close(drainMs);
    await within(CLOSE_MS, this.#queue.close());
  }
}
