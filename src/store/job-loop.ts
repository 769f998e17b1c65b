import {
  DelayedError,
  type Job,
  RateLimitError,
  type RepeatStrategy,
  UnrecoverableError,
  WaitingChildrenError,
  Worker,
} from "bullmq";
import { GlueError } from "../shared/errors.ts";
import { logFault } from "../shared/fault-log.ts";
import { isWrongType } from "../shared/stored-data.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { NEVER_LIMITING, setConcurrency } from "./bullmq-internals.ts";
import { keepLock } from "./bullmq-sleep.ts";
import type { ClockWatch } from "./clock-watch.ts";
import { openJobData } from "./job-data.ts";
import { JobSlots } from "./job-slots.ts";
import { againAfter, noteAgainAt, PUT_BACK_MS, putBack, putBackMs, waitOut } from "./put-back.ts";
import { isKeyMissing } from "./sealing.ts";
import { UnreadableWatch, type UnreadableWatchOptions } from "./unreadable-watch.ts";

const REST_MS = 500;

/** Why a job's signal aborted. */
export type AbortReason = "cancelled" | "lock lost" | "draining";

/** Why no jobs are taken for a time. */
type HoldReason = "memory" | "fault" | "clock";

/** A job that a worker has. */
export interface ActiveJob {
  job: Job;
  jobId: string;
  /** The value of the job's lock. */
  token: string;
  /** Aborts with an `AbortReason`. */
  signal: AbortSignal;
  /**
   * Does work during which another job may have this one's place, and returns once there is a place again.
   * @throws what the work throws; the signal's reason
   */
  withoutSlot: <T>(work: () => Promise<T>) => Promise<T>;
}

export interface JobLoopOptions extends UnreadableWatchOptions {
  /** How long a job's lock outlives its worker, in milliseconds. */
  lockMs: number;
  /** Jobs at a time. */
  concurrency: number;
  /** A lock that ran out while the process was held up is renewed while nobody else has the job; default false. */
  keepsFreeLocks?: boolean;
  /** While it says that the clock is off, no jobs are taken. */
  clock?: ClockWatch;
  /** The times of the queue's job schedulers; default: BullMQ's. */
  repeatStrategy?: RepeatStrategy;
  /** Brings a job to its end: returns what BullMQ keeps of it, or throws one of BullMQ's signals or a `RetryError`. */
  process: (active: ActiveJob) => Promise<unknown>;
}

/** Takes the jobs of one queue in this process, over one connection of BullMQ's own that waits for them. */
export class JobLoop {
  readonly #options: JobLoopOptions;
  readonly #worker: Worker;
  readonly #slots: JobSlots;
  readonly #active = new Map<string, { abort: AbortController; token: string }>();
  /** Why no jobs are taken at present. */
  readonly #holds = new Set<HoldReason>();
  readonly #unfollow: (() => void) | undefined;
  #lastActiveAt = Date.now();
  readonly #unreadable: UnreadableWatch;

  constructor(options: JobLoopOptions) {
    const { store, queue, lockMs, concurrency } = options;
    this.#options = options;
    this.#unreadable = new UnreadableWatch(options);
    this.#worker = new Worker(queue, (job: Job, token = "") => this.#process(job, token), {
      connection: store.redis,
      prefix: store.keys.prefix,
      concurrency,
      limiter: NEVER_LIMITING,
      maximumRateLimitDelay: 1000,
      lockDuration: lockMs,
      stalledInterval: lockMs / 2,
      // BullMQ never resets the count in a job's life, and a run may live through many workers; for completions
      // `barred` counts, and says what happened.
      maxStalledCount: 50,
      settings: {
        backoffStrategy: (_attempts, _type, error) =>
          error instanceof RetryError ? error.delayMs : PUT_BACK_MS,
        repeatStrategy: options.repeatStrategy,
      },
    });
    this.#slots = new JobSlots(concurrency, (jobs) => setConcurrency(this.#worker, jobs));
    this.#worker.on("error", (error) => this.#onError(error));
    this.#worker.on("lockRenewalFailed", (jobIds: string[]) => {
      for (const jobId of jobIds) void this.#onLockLost(jobId);
    });
    this.#unfollow = options.clock?.follow((isOff) => (isOff ? this.hold("clock") : this.release("clock")));
  }

  /** How many jobs this process has. */
  get activeCount(): number {
    return this.#active.size;
  }

  /** How many of them have a slot: those that do no work of their own. */
  get slotsHeld(): number {
    return this.#slots.held;
  }

  /** Returns the milliseconds since a job last ran here; 0 while one does. */
  get idleMs(): number {
    return this.#active.size > 0 ? 0 : Date.now() - this.#lastActiveAt;
  }

  /** Sets how many slots for jobs this process has; what runs already goes on. */
  set concurrency(concurrency: number) {
    this.#slots.size = concurrency;
  }

  /** Aborts the job's signal, when this process has it. */
  abort(jobId: string, reason: AbortReason): void {
    this.#active.get(jobId)?.abort.abort(reason);
  }

  /** Takes no jobs until every reason not to has been released. */
  hold(reason: HoldReason): void {
    if (this.#holds.has(reason)) return;
    if (this.#holds.size === 0) void this.#worker.pause(true);
    this.#holds.add(reason);
  }

  /** Ends a reason to take no jobs. */
  release(reason: HoldReason): void {
    if (this.#holds.delete(reason) && this.#holds.size === 0) void this.#worker.resume();
  }

  /** Takes no more jobs, waits `drainMs` for the active ones, then aborts them so that they go back. */
  async close(drainMs: number): Promise<void> {
    this.#unfollow?.();
    // pause() would wait for the blocking connection's next answer, up to 5 s; close() cuts it.
    const closed = this.#worker.close();
    await within(drainMs, closed);
    for (const jobId of this.#active.keys()) this.abort(jobId, "draining");
    // With Redis unreachable it ends only when the process's connection does.
    await within(CLOSE_MS, closed);
  }

  async #process(job: Job, token: string): Promise<unknown> {
    const jobId = job.id ?? "";
    const abort = new AbortController();
    const { signal } = abort;
    const withoutSlot: ActiveJob["withoutSlot"] = (work) => this.#slots.without(signal, work);
    const active: ActiveJob = { job, jobId, token, signal, withoutSlot };
    // This process was held up until the job's lock ran out: what it does for the job already is still good.
    if (this.#active.has(jobId))
      return putBack(active, { delayMs: PUT_BACK_MS, reason: "an earlier attempt is still on" });
    this.#active.set(jobId, { abort, token });
    this.#slots.take();
    try {
      await waitOut(active, this.#options.store);
      await this.#openData(active);
      return await this.#options.process(active);
    } catch (error) {
      if (error instanceof RetryError) await this.#noteRetry(job, error);
      if (!isSignal(error)) this.#tellUnexpected(jobId, error);
      throw error;
    } finally {
      this.#active.delete(jobId);
      this.#slots.release();
      this.#lastActiveAt = Date.now();
    }
  }

  /** @throws DelayedError when this process lacks a key that it is encrypted under, or that its answer is to be: another one may have it */
  async #openData(active: ActiveJob): Promise<void> {
    const { store, queue, logger } = this.#options;
    const { job, jobId } = active;
    try {
      await store.sealing.ready();
      job.data = await openJobData(store, jobId, job.data);
    } catch (error) {
      if (!isKeyMissing(error)) {
        // Its processor says what becomes of a job without data.
        if (!(error instanceof GlueError)) throw error;
        job.data = undefined;
        return;
      }
      logFault(
        logger,
        error.message,
        { queue, hint: error.hint },
        "jobs go back that this worker cannot decrypt",
        "warn",
      );
      await putBack(active, { delayMs: putBackMs(), reason: "a worker with the key of its encryption" });
    }
  }

  /** For the worker that takes it next, whose clock may be another one. */
  async #noteRetry(job: Job, { delayMs }: RetryError): Promise<void> {
    const { store, logger } = this.#options;
    await noteAgainAt(job, againAfter(store, delayMs)).catch((fault: Error) =>
      logger.debug({ fault: fault.message }, "the time of a retry was not noted"),
    );
  }

  /** BullMQ repeats the job; only the name of the fault is told, since its text may quote the request. */
  #tellUnexpected(jobId: string, error: unknown): void {
    const { logger, queue } = this.#options;
    const { name = "unknown", message = "" } = error instanceof Error ? error : {};
    const fault = name === "ReplyError" ? message : name;
    logFault(logger, fault, { queue, jobId }, "an attempt broke off; the job is tried again");
  }

  async #onLockLost(jobId: string): Promise<void> {
    const { store, queue, lockMs, keepsFreeLocks } = this.#options;
    const token = this.#active.get(jobId)?.token;
    if (keepsFreeLocks && token !== undefined) {
      if (await keepLock(store, queue, jobId, { token, lockMs }).catch(() => false)) return;
    }
    this.abort(jobId, "lock lost");
  }

  #onError(error: Error): void {
    const { logger, queue } = this.#options;
    // BullMQ asks at once again, thousands of times a second.
    if (error.name === "ReplyError") this.#rest();
    const isOfParsing = error instanceof SyntaxError || error instanceof TypeError;
    if (isOfParsing || isWrongType(error)) void this.#unreadable.look({ mayBeStranded: isWrongType(error) });
    // What cannot be parsed is quoted there, and may be a prompt.
    logFault(logger, isOfParsing ? error.name : error.message, { queue }, "queue worker fault");
  }

  #rest(): void {
    if (this.#holds.has("fault")) return;
    this.hold("fault");
    setTimeout(() => this.release("fault"), REST_MS).unref();
  }
}

/** An attempt's end after which BullMQ repeats the job in `delayMs`. */
export class RetryError extends Error {
  readonly delayMs: number;

  constructor(message: string, delayMs: number) {
    super(message);
    this.delayMs = delayMs;
    // Bull Board shows stacks, and this one says nothing that the message does not.
    this.stack = message;
  }
}

/** What an attempt throws to tell BullMQ what becomes of its job. */
function isSignal(error: unknown): boolean {
  const signals = [DelayedError, RateLimitError, RetryError, UnrecoverableError, WaitingChildrenError];
  return signals.some((signal) => error instanceof signal);
}
