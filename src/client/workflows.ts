import { z } from "zod";
import { PATTERNS } from "../patterns/all.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { didYouMean, hintOf } from "../shared/did-you-mean.ts";
import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { orAborted } from "../shared/or-aborted.ts";
import { checkWith } from "../shared/schema-check.ts";
import type { Owner } from "../shared/tenant.ts";
import { uuidHere } from "../shared/tool-run.ts";
import type { StartLimits } from "../store/run-limits.ts";
import { MAX_DEADLINE_MS } from "../store/run-record.ts";
import type { Workflow } from "../workflows/context.ts";
import { inputDigestForm } from "../workflows/start-run.ts";
import { type AnyWorkflow, workflowsByName } from "../workflows/workflow.ts";
import { startLimits } from "../workflows/workflow-limits.ts";
import type { ActivityWorkers, WorkflowVersion } from "../workflows/workflow-runs.ts";
import { endedBy } from "./aborted.ts";
import {
  type BulkOptions,
  type BulkReport,
  type BulkSignalOptions,
  CANCEL,
  changeRuns,
  RETRY,
  signalling,
} from "./bulk-change.ts";
import type { Connection } from "./connection.ts";
import { checkSelection, checkTags, type RunSelection } from "./run-selection.ts";
import { WorkflowHandle } from "./workflow-handle.ts";

/** Options of a run. */
export interface StartOptions {
  /** The caller's name for the run: the same one with the same input is one run, paid once. Default: a new one. */
  runId?: string;
  /** Words by which `list` finds the run; at most 20. */
  tags?: readonly string[];
  /** The rank of the run and of its steps: lower comes first, from 0, the default, to 2,097,151. */
  priority?: number;
  /** The time within which the run must end, in milliseconds; at most 3,650 days, default 30. */
  deadlineMs?: number;
  /** A signal that ends the wait for Redis; a run that has begun goes on. Default: none. */
  signal?: AbortSignal;
}

/** Options of a signal to a run that is started when there is none. */
export interface SignalWithStartOptions extends StartOptions {
  /** The run's id, which every caller has to give. */
  runId: string;
  /** The name of the signal. */
  signalName: string;
  /** What the signal brings. */
  data?: unknown;
  /** A second signal with it changes nothing. */
  dedupeId?: string;
}

/** Which runs are listed. */
export interface ListOptions extends RunSelection {
  /** The most runs, from 1 to 10,000; default 100. */
  limit?: number;
  /** That of the page before. */
  cursor?: string | undefined;
}

/** A page of runs. */
export type WorkflowList = WorkflowHandle[] & {
  /** That of the next page; undefined at the end. */
  cursor: string | undefined;
};

const MAX_LISTED = 10_000;

/** Ids are parts of Redis keys and of BullMQ's job ids, which must not be numbers. */
const RUN_ID = /^(?=.*[^\d])[\w.-]{1,200}$/;
const MAX_PRIORITY = 2_097_151;

/** The workflow runs of a client. */
export class Workflows {
  readonly #connection: Connection;
  readonly #known: ReadonlyMap<string, AnyWorkflow>;
  readonly #checkKeys: (input: unknown) => void;
  readonly #owner: Owner;

  /** Makes the runs of a client. @throws InputError (`duplicate_workflow`), also for the name of a built-in pattern. */
  constructor(
    connection: Connection,
    known: readonly AnyWorkflow[] = [],
    checkKeys: (input: unknown) => void = () => {},
    owner: Owner = {},
  ) {
    this.#owner = owner;
    this.#connection = connection;
    this.#checkKeys = checkKeys;
    this.#known = workflowsByName([...Object.values(PATTERNS), ...known]);
  }

  /**
   * Starts a run, and returns its handle once it is safe in Redis: by the workflow's `singleton` or `debounce` perhaps that of the run that
   * stands for it.
   * @param workflow itself, or the name of a built-in pattern or of one that the client was made with
   * @throws InputError naming the field of the input that is wrong; `run_conflict` when `runId` stands for another
   * workflow or input; `singleton_running`; `limit_key` when a key of its limits cannot be had; ConfigurationError (`missing_key`) in mode `local`; JobCancelledError by the signal
   */
  async start<Input, Output, Given>(
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options?: StartOptions,
  ): Promise<WorkflowHandle<Output>>;
  async start(workflow: string, input: unknown, options?: StartOptions): Promise<WorkflowHandle>;
  async start(
    named: AnyWorkflow | string,
    input: unknown,
    options: StartOptions = {},
  ): Promise<WorkflowHandle> {
    const { name, version, limits } = this.checked(named, input);
    const { runId = newRunId(name, input), deadlineMs, signal } = options;
    if (!RUN_ID.test(runId)) {
      throw new InputError(
        `"${runId}" cannot be a run's id`,
        "use letters, digits, _, - and ., not digits alone",
      );
    }
    const { priority, tags } = checkRunOptions(options);
    const start = {
      ...this.#owner,
      runId,
      workflow: name,
      version,
      input,
      priority,
      deadlineMs,
      tags,
      limits,
    };
    const id = await endedBy(
      signal,
      this.#connection.useRuns((runs) => orAborted(signal, runs.start(start)), signal),
    );
    return this.open(id);
  }

  /** Returns the handle of a run that was started here or elsewhere. */
  open<Output = unknown>(runId: string): WorkflowHandle<Output> {
    return new WorkflowHandle(this.#connection, runId, { tenant: this.#owner.tenant });
  }

  /** Returns the JSON Schemas of the inputs of the workflows that this client knows, the built-in patterns included, by name. */
  inputSchemas(): Record<string, unknown> {
    const options = { io: "input", unrepresentable: "any" } as const;
    const schemas = [...this.#known].map(
      ([name, { input }]) => [name, z.toJSONSchema(input, options)] as const,
    );
    return Object.fromEntries(schemas);
  }

  /** Returns which worker processes can run which versions of which workflows now. */
  versions(): Promise<WorkflowVersion[]> {
    return this.#connection.useRuns((runs) => runs.versions());
  }

  /** Returns which worker processes have which activities now; one without workers has runs that wait for one. */
  activities(): Promise<ActivityWorkers[]> {
    return this.#connection.useRuns((runs) => runs.activities());
  }

  /**
   * Signals the run of this id, which is started before when there is none. A run that stands under the id keeps its
   * input. Repeating the call with the same `dedupeId` changes nothing.
   * @throws as `start` and `handle.signal`; InputError (`run_conflict`) when the id stands for another workflow
   */
  async signalWithStart<Input, Output, Given>(
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options: SignalWithStartOptions,
  ): Promise<WorkflowHandle<Output>>;
  async signalWithStart(
    workflow: string,
    input: unknown,
    options: SignalWithStartOptions,
  ): Promise<WorkflowHandle>;
  async signalWithStart(
    given: AnyWorkflow | string,
    input: unknown,
    { signalName, data, dedupeId, ...options }: SignalWithStartOptions,
  ): Promise<WorkflowHandle> {
    const workflow = typeof given === "string" ? this.#named(given) : given;
    const handle = await this.start(workflow, input, options).catch(async (error: unknown) => {
      if (!(error instanceof InputError) || error.code !== "run_conflict") throw error;
      const standing = this.open(options.runId);
      if ((await standing.status()).workflow !== workflow.name) throw error;
      return standing;
    });
    await handle.signal(signalName, data, { dedupeId });
    return handle;
  }

  /**
   * Returns the handles of runs that fit, the newest first; by default the latest 100. Each says in `listed` what it is,
   * without a further question. `cursor` of the list is that of the next page; undefined at the end.
   * @throws InputError for a cursor that is none, and naming what is unknown or wrong in the options
   */
  async list({ limit = 100, cursor, ...selection }: ListOptions = {}): Promise<WorkflowList> {
    checkRange("limit", limit, 1, MAX_LISTED);
    const filter = { ...checkSelection(selection), tenant: this.#owner.tenant };
    const page = await this.#connection.useRuns((runs) => runs.list(filter, limit, cursor));
    const handles = page.runs.map(
      (listed) => new WorkflowHandle(this.#connection, listed.id, { listed, ...this.#owner }),
    );
    return Object.assign(handles, { cursor: page.cursor });
  }

  /**
   * Cancels all running runs that fit, a few at a time. With `dryRun` it only counts them. The same call again goes on
   * where one was broken off.
   * @throws InputError for a selection that is wrong, or without anything in it
   */
  cancelRuns(selection: RunSelection, options: BulkOptions = {}): Promise<BulkReport> {
    return this.#connection.useRuns((runs) => changeRuns(runs, CANCEL, selection, options, this.#owner));
  }

  /** Retries all failed runs that fit, as `handle.retry` does, and otherwise as `cancelRuns`. @throws as `cancelRuns` */
  retryRuns(selection: RunSelection, options: BulkOptions = {}): Promise<BulkReport> {
    return this.#connection.useRuns((runs) => changeRuns(runs, RETRY, selection, options, this.#owner));
  }

  /** Signals all running runs that fit, each once for a `dedupeId`. @throws as `cancelRuns` */
  signalRuns(
    selection: RunSelection,
    name: string,
    data?: unknown,
    { dedupeId: given, ...options }: BulkSignalOptions = {},
  ): Promise<BulkReport> {
    return this.#connection.useRuns(async (runs) => {
      const { dedupeId, ...change } = signalling(name, data, given);
      return { ...(await changeRuns(runs, change, selection, options, this.#owner)), dedupeId };
    });
  }

  /** @internal Returns the workflow, whose input is checked. @throws as `start` */
  checked(
    given: AnyWorkflow | string,
    input: unknown,
  ): { name: string; version: number; limits: StartLimits } {
    const workflow = typeof given === "string" ? this.#named(given) : given;
    const { name, version } = workflow;
    const limits = startLimits(workflow, checkWith(workflow.input, input, `the input of workflow "${name}"`));
    this.#checkKeys(input);
    return { name, version, limits };
  }

  #named(name: string): AnyWorkflow {
    const workflow = this.#known.get(name);
    if (workflow) return workflow;
    const known = [...this.#known.keys()];
    const hint = `known here: ${known.join(", ") || "none"}; give them as GlueLLM's workflows, or the process its code: gluellm api --module FILE`;
    throw new InputError(`no workflow "${name}"`, hintOf(didYouMean(name, known), hint), "unknown_workflow");
  }
}

/** Inside a tool that is run again it is the id of the run that the tool started before. */
function newRunId(name: string, input: unknown): string {
  return `run-${uuidHere(sha256(canonicalJson([name, inputDigestForm(input)])))}`;
}

/** Returns what a run is started with beside its input. @throws InputError */
export function checkRunOptions({ priority = 0, deadlineMs, tags = [] }: StartOptions): {
  priority: number;
  tags: readonly string[];
} {
  checkRange("priority", priority, 0, MAX_PRIORITY);
  if (deadlineMs !== undefined) checkRange("deadlineMs", deadlineMs, 1, MAX_DEADLINE_MS);
  return { priority, tags: checkTags(tags) };
}

function checkRange(option: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new InputError(`the options are wrong at ${option}: not a whole number from ${min} to ${max}`);
}
