import {
  type CompletionEvent,
  type CompletionResult,
  type DeepPartial,
  toResult,
} from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import type { CompletionProducer } from "../producers/completion-producer.ts";
import type { JobRef } from "../producers/job-lookup.ts";
import type { JobStatus } from "../producers/job-status.ts";
import type { PendingApproval } from "../shared/approval.ts";
import type { Connection } from "./connection.ts";
import { PartialOutput } from "./partial-output.ts";
import { untilTimeout, type WaitOptions } from "./wait.ts";

/** How a handle reads its job. */
export interface HandleOptions<S extends OutputSchema> {
  /** Parses the structured answer. */
  schema?: S | undefined;
  schemaName?: string | undefined;
  /** Whose job it has to be: another tenant's is as one that is not there. Default: anybody's. */
  tenant?: string | undefined;
}

/** The handle of a job, for any process that has its id. */
export class CompletionHandle<S extends OutputSchema = OutputSchema> {
  readonly #connection: Connection;
  readonly #job: JobRef;
  readonly #schema: S | undefined;
  readonly #schemaName: string | undefined;
  readonly #tenant: string | undefined;

  /** Makes a handle, as `enqueue` and `handle` of a client do. */
  constructor(connection: Connection, job: JobRef, { schema, schemaName, tenant }: HandleOptions<S> = {}) {
    this.#tenant = tenant;
    this.#connection = connection;
    this.#job = job;
    this.#schema = schema;
    this.#schemaName = schemaName;
  }

  /** The job's id, which opens the handle again: `glue.handle(id)`. */
  get id(): string {
    return this.#job.id;
  }

  /** Returns where the job stands. @throws JobLostError when Redis has neither the job nor its result. */
  status(): Promise<JobStatus> {
    return this.#use((producer) => producer.status(this.#job));
  }

  /**
   * Waits for the result and returns it; it is kept for 7 days.
   * @throws the job's error, of its class (`RateLimitError`, `JobCancelledError` …) with `attempts` and
   * `context.jobId`; JobLostError; GlueError `result_timeout`; the signal's reason.
   */
  async result({ signal, timeoutMs }: WaitOptions = {}): Promise<CompletionResult<OutputOf<S>>> {
    signal?.throwIfAborted();
    using end = untilTimeout(`job ${this.id}`, { signal, timeoutMs });
    const record = await this.#use((producer) => producer.result(this.#job, end.signal), end.signal);
    return await toResult(record, this.#schema);
  }

  /**
   * Yields the answer's pieces while a worker produces them, from its beginning whenever one joins, and last the result. A
   * job that was not enqueued with `stream` brings its answer in one piece. With a schema the structured answer so far follows
   * the pieces that it grew by. Leaving the loop leaves the job alone.
   *
   * ```ts
   * for await (const event of handle.stream()) if (event.type === "text") process.stdout.write(event.text);
   * ```
   * @throws as `result` does; `timeoutMs` is the time of the whole.
   */
  async *stream({
    signal,
    timeoutMs,
  }: WaitOptions = {}): AsyncGenerator<CompletionEvent<OutputOf<S>>, void, undefined> {
    signal?.throwIfAborted();
    using end = untilTimeout(`job ${this.id}`, { signal, timeoutMs });
    if (this.#tenant !== undefined) await this.#use(() => Promise.resolve());
    const events = this.#connection.iterate((producer) => producer.stream(this.#job, end.signal), end.signal);
    const partial = this.#schema && new PartialOutput(this.#schema, this.#schemaName);
    for await (const event of events) {
      if (event.type === "record") {
        yield { type: "result", result: await toResult(event.record, this.#schema) };
        continue;
      }
      yield event;
      const output = partial?.take(event) as DeepPartial<OutputOf<S>> | undefined;
      if (output !== undefined) yield { type: "partialOutput", output };
    }
  }

  /**
   * Ends the job: no further call is made for it, and one in flight is aborted. Whoever waits for it gets a
   * JobCancelledError.
   * @returns false when it had succeeded or failed before.
   * @throws JobLostError when Redis has neither the job nor its result.
   */
  cancel(): Promise<boolean> {
    return this.#use((producer) => producer.cancel(this.#job));
  }

  /** Returns the calls of its tools that wait for a person. @throws JobLostError for another tenant's job */
  approvals(): Promise<PendingApproval[]> {
    return this.#use((producer) => producer.approvals(this.#job));
  }

  /**
   * Allows a call of a tool that waits for a person; the job goes on with it.
   * @param by who says so, for the job's history
   * @throws InputError `approval_unknown` when nobody is asked about that call, `approval_decided` when it was rejected before,
   * `approval_expired`; JobLostError
   */
  approve(callId: string, { by }: { by?: string } = {}): Promise<void> {
    return this.#use((producer) => producer.answer(this.#job, callId, { approved: true, by }));
  }

  /**
   * Forbids a call of a tool that waits for a person. The model reads the reason, and the job goes on.
   * @throws as `approve`; `approval_decided` when it was approved before
   */
  reject(callId: string, reason?: string, { by }: { by?: string } = {}): Promise<void> {
    return this.#use((producer) => producer.answer(this.#job, callId, { approved: false, reason, by }));
  }

  /**
   * Lets a failed job try again, from the call that failed: with new attempts and a new deadline; what its journal has is not
   * paid again.
   * @throws InputError (`job_not_failed`); JobLostError when Redis has neither the job nor its result.
   */
  retry(): Promise<void> {
    return this.#use((producer) => producer.retry(this.#job));
  }

  /** @throws JobLostError, too, when the job is another tenant's */
  #use<T>(work: (producer: CompletionProducer) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#connection.use(async (producer) => {
      if (this.#tenant !== undefined) await producer.requireOwn(this.#job, this.#tenant);
      return await work(producer);
    }, signal);
  }
}
