import type { JobRef } from "../producers/job-lookup.ts";
import type { JobStatus } from "../producers/job-status.ts";
import { GlueError, InputError } from "../shared/errors.ts";
import { type CompletionResult, toResult } from "./completion-result.ts";
import type { Connection } from "./connection.ts";
import type { OutputOf, OutputSchema } from "./output-schema.ts";

export interface WaitOptions {
  /** Ends the waiting; the job goes on. */
  signal?: AbortSignal;
  /** Longest wait, in milliseconds; default: until a worker ends the job, which it does at its deadline. */
  timeoutMs?: number;
}

/** The longest that a timer can run. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** A job, from any process that has its id. */
export class CompletionHandle<S extends OutputSchema = OutputSchema> {
  readonly #connection: Connection;
  readonly #job: JobRef;
  readonly #schema: S | undefined;

  /** Made by `enqueue` and `handle` of a client. */
  constructor(connection: Connection, job: JobRef, schema?: S) {
    this.#connection = connection;
    this.#job = job;
    this.#schema = schema;
  }

  /** Opens the handle again: `glue.handle(id)`. */
  get id(): string {
    return this.#job.id;
  }

  /** @throws JobLostError when Redis has neither the job nor its result. */
  status(): Promise<JobStatus> {
    return this.#connection.use((producer) => producer.status(this.#job));
  }

  /**
   * Waits for the result, which is kept for 7 days.
   * @throws the job's error, of its class (`RateLimitError`, `JobCancelledError` …) with `attempts` and
   * `context.jobId`; JobLostError; GlueError `result_timeout`; the signal's reason.
   */
  async result({ signal, timeoutMs }: WaitOptions = {}): Promise<CompletionResult<OutputOf<S>>> {
    signal?.throwIfAborted();
    const timeout = new AbortController();
    const timer = timeoutMs === undefined ? undefined : this.#startTimer(timeout, timeoutMs);
    const end = signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal;
    try {
      const record = await this.#connection.use((producer) => producer.result(this.#job, end));
      return await toResult(record, this.#schema);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Ends the job: it is not called for any more, and a call in flight is aborted. Whoever waits for it gets a
   * JobCancelledError.
   * @returns false when it had succeeded or failed before.
   * @throws JobLostError when Redis has neither the job nor its result.
   */
  cancel(): Promise<boolean> {
    return this.#connection.use((producer) => producer.cancel(this.#job));
  }

  #startTimer(timeout: AbortController, timeoutMs: number): NodeJS.Timeout {
    if (!(timeoutMs >= 0)) throw new InputError(`timeoutMs must be at least 0, not ${timeoutMs}`);
    const error = new GlueError({
      code: "result_timeout",
      category: "cancelled",
      message: `job ${this.id} has not ended within ${timeoutMs} ms`,
      hint: "the job goes on: call result() again, or cancel() it",
      context: { jobId: this.id },
    });
    return setTimeout(() => timeout.abort(error), Math.min(timeoutMs, MAX_TIMEOUT_MS));
  }
}
