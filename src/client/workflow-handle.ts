import { randomUUID } from "node:crypto";
import { InputError } from "../shared/errors.ts";
import { orAborted } from "../shared/or-aborted.ts";
import type { ListedRun } from "../store/run-list.ts";
import type { ForkOptions } from "../workflows/fork.ts";
import type { RunStatus, RunStep } from "../workflows/run-status.ts";
import type { RunSignal } from "../workflows/signal-schemas.ts";
import type { WorkflowRuns } from "../workflows/workflow-runs.ts";
import type { Connection } from "./connection.ts";
import { untilTimeout, type WaitOptions } from "./wait.ts";

/** The handle of a workflow run, for any process that has its id. */
export class WorkflowHandle<Output = unknown> {
  readonly #connection: Connection;
  /** The run's id, which opens the handle again: `glue.workflows.open(id)`. */
  readonly id: string;

  /** Whose run it has to be; undefined: anybody's. */
  readonly #tenant: string | undefined;

  /** What `list` found of the run; undefined on handles of others. */
  readonly listed: ListedRun | undefined;

  /** Makes a handle, as `start`, `open`, `list` and `fork` do. */
  constructor(
    connection: Connection,
    id: string,
    { listed, tenant }: { listed?: ListedRun; tenant?: string | undefined } = {},
  ) {
    this.#connection = connection;
    this.#tenant = tenant;
    this.id = id;
    this.listed = listed;
  }

  /** Returns where the run stands. @throws JobLostError when there is no such run (any more). */
  status(): Promise<RunStatus> {
    return this.#useRuns((runs) => runs.status(this.id));
  }

  /**
   * Returns the value that the run's function has published under this name by `ctx.metadata.set`, as it stands.
   * @throws InputError (`unknown_query`) when it has published none; JobLostError
   */
  async query<T = unknown>(name: string): Promise<T> {
    const { metadata } = await this.status();
    if (Object.hasOwn(metadata, name)) return metadata[name] as T;
    throw new InputError(
      `run ${this.id} has published no "${name}"`,
      `it has: ${Object.keys(metadata).join(", ") || "nothing yet"}`,
      "unknown_query",
    );
  }

  /** Returns its steps in the order in which they were asked for. @throws as `status`. */
  steps(): Promise<RunStep[]> {
    return this.#useRuns((runs) => runs.steps(this.id));
  }

  /**
   * Waits for the output and returns it; it is kept for 30 days.
   * @throws the run's error, of its class; NonDeterminismError while no worker's code fits the run, which goes on with
   * code that does; JobLostError; GlueError `result_timeout`; the signal's reason.
   */
  async result(options: WaitOptions = {}): Promise<Output> {
    using end = untilTimeout(`run ${this.id}`, options);
    const result = this.#useRuns(
      (runs) => orAborted(end.signal, runs.result(this.id, end.signal)),
      end.signal,
    );
    return (await result) as Output;
  }

  /**
   * Ends the run, its steps and child runs: no further call is made, and calls in flight are aborted.
   * @returns false when it had ended before. @throws JobLostError when there is no such run (any more).
   */
  cancel(): Promise<boolean> {
    return this.#useRuns((runs) => runs.cancel(this.id));
  }

  /** Returns the signals that its workflow declares, with their JSON Schemas, and those that it waits for. @throws as `status` */
  signals(): Promise<RunSignal[]> {
    return this.#useRuns((runs) => runs.signals(this.id));
  }

  /**
   * Answers a `ctx.waitFor(name)`, now or when the run comes to it.
   * @param options `dedupeId`: a second signal with it changes nothing, so that the call may be repeated
   * @throws GlueError `run_over`; InputError (`invalid_signal`, `not_serializable`); JobLostError.
   */
  signal(name: string, data?: unknown, { dedupeId }: { dedupeId?: string } = {}): Promise<void> {
    return this.#useRuns((runs) => runs.signal(this.id, name, data, dedupeId));
  }

  /**
   * Gives the run an update, and returns what its handler (`ctx.onUpdate`) returns.
   * @param options `updateId`: the same one again is the same update, with the same answer; `timeoutMs`; `signal`
   * @throws what the handler threw; GlueError `run_over` when the run ends without an answer; GlueError `result_timeout`;
   * the signal's reason
   */
  async update<Value = unknown>(
    name: string,
    data?: unknown,
    { updateId, ...options }: WaitOptions & { updateId?: string } = {},
  ): Promise<Value> {
    using end = untilTimeout(`update "${name}" of run ${this.id}`, options);
    const update = { name, data, updateId };
    return (await this.#useRuns((runs) => runs.update(this.id, update, end.signal))) as Value;
  }

  /**
   * Lets a failed run go on in place, from the step that it failed with: that step is done anew, everything else is as it
   * ended, and paid for. A deadline of its own begins anew.
   * @throws InputError (`run_not_failed`), also for a child run, whose parent has to be retried; JobLostError
   */
  retry(): Promise<void> {
    return this.#useRuns((runs) => runs.retry(this.id));
  }

  /**
   * Starts a run of the same workflow that takes over what came before a step, and returns its handle.
   * The same `runId` with the same changes is one fork; with others it is an error.
   * @throws InputError for a step or changes that do not fit; InputError (`run_conflict`); JobLostError
   */
  async fork(options: ForkOptions & { runId?: string }): Promise<WorkflowHandle<Output>> {
    const { runId = `run-${randomUUID()}`, ...rest } = options;
    await this.#useRuns((runs) => runs.fork(this.id, runId, rest));
    return new WorkflowHandle(this.#connection, runId, { tenant: this.#tenant });
  }

  #useRuns<T>(work: (runs: WorkflowRuns) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#connection.useRuns(async (runs) => {
      if (this.#tenant !== undefined) await runs.requireOwn(this.id, this.#tenant);
      return await work(runs);
    }, signal);
  }
}
