import type { JobRef } from "../producers/job-lookup.ts";
import type { JobStatus } from "../producers/job-status.ts";
import { type CompletionResult, toResult } from "./completion-result.ts";
import type { Connection } from "./connection.ts";
import { withTimeout } from "./wait.ts";

export interface WaitOptions {
  /** Ends the waiting; the job goes on. */
  signal?: AbortSignal;
  /** Longest wait, in milliseconds; default: until a worker ends the job, which it does at its deadline. */
  timeoutMs?: number;
}

/** A job, from any process that has its id. */
export class CompletionHandle {
  readonly #connection: Connection;
  readonly #job: JobRef;

  /** Made by `enqueue` and `handle` of a client. */
  constructor(connection: Connection, job: JobRef) {
    this.#connection = connection;
    this.#job = job;
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
  result(options: WaitOptions = {}): Promise<CompletionResult> {
    return withTimeout(`job ${this.id}`, options, async (end) =>
      toResult(await this.#connection.use((producer) => producer.result(this.#job, end))),
    );
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
}
