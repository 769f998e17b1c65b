import { PATTERNS } from "../patterns/all.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { asJson } from "../shared/json.ts";
import { orAborted } from "../shared/or-aborted.ts";
import { checkWith } from "../shared/schema-check.ts";
import { uuidHere } from "../shared/tool-run.ts";
import { MAX_DEADLINE_MS } from "../store/run-record.ts";
import type { Workflow } from "../workflows/context.ts";
import { type AnyWorkflow, workflowsByName } from "../workflows/workflow.ts";
import type { WorkflowVersion } from "../workflows/workflow-runs.ts";
import { endedBy } from "./aborted.ts";
import type { Connection } from "./connection.ts";
import { WorkflowHandle } from "./workflow-handle.ts";

/** Options of a run. */
export interface StartOptions {
  /** The caller's name for the run: the same one with the same input is one run, paid once. Default: a new one. */
  runId?: string;
  /** The rank of the run and of its steps: lower comes first, from 0, the default, to 2,097,151. */
  priority?: number;
  /** The time within which the run must end, in milliseconds; less than 30 days, which is the default. */
  deadlineMs?: number;
  /** A signal that ends the wait for Redis; a run that has begun goes on. Default: none. */
  signal?: AbortSignal;
}

/** Ids are parts of Redis keys and of BullMQ's job ids, which must not be numbers. */
const RUN_ID = /^(?=.*[^\d])[\w.-]{1,200}$/;
const MAX_PRIORITY = 2_097_151;

/** The workflow runs of a client. */
export class Workflows {
  readonly #connection: Connection;
  readonly #known: ReadonlyMap<string, AnyWorkflow>;
  readonly #checkKeys: (input: unknown) => void;

  /** Makes the runs of a client. @throws InputError (`duplicate_workflow`), also for the name of a built-in pattern. */
  constructor(
    connection: Connection,
    known: readonly AnyWorkflow[] = [],
    checkKeys: (input: unknown) => void = () => {},
  ) {
    this.#connection = connection;
    this.#checkKeys = checkKeys;
    this.#known = workflowsByName([...Object.values(PATTERNS), ...known]);
  }

  /**
   * Starts a run, and returns its handle once it is safe in Redis.
   * @param workflow itself, or the name of a built-in pattern or of one that the client was made with
   * @throws InputError naming the field of the input that is wrong; `run_conflict` when `runId` stands for another
   * workflow or input; ConfigurationError (`missing_key`) in mode `local`; JobCancelledError by the signal
   */
  async start<Input, Output, Given>(
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options?: StartOptions,
  ): Promise<WorkflowHandle<Output>>;
  async start(workflow: string, input: unknown, options?: StartOptions): Promise<WorkflowHandle>;
  async start(
    given: AnyWorkflow | string,
    input: unknown,
    options: StartOptions = {},
  ): Promise<WorkflowHandle> {
    const { name, version, input: schema } = typeof given === "string" ? this.#named(given) : given;
    checkWith(schema, input, `the input of workflow "${name}"`);
    this.#checkKeys(input);
    const { runId = newRunId(name, input), priority = 0, deadlineMs, signal } = options;
    if (!RUN_ID.test(runId)) {
      throw new InputError(
        `"${runId}" cannot be a run's id`,
        "use letters, digits, _, - and ., not digits alone",
      );
    }
    checkRange("priority", priority, 0, MAX_PRIORITY);
    if (deadlineMs !== undefined) checkRange("deadlineMs", deadlineMs, 1, MAX_DEADLINE_MS - 1);
    const deadlineAt = deadlineMs === undefined ? undefined : Date.now() + deadlineMs;
    const start = { runId, workflow: name, version, input, priority, deadlineAt };
    await endedBy(
      signal,
      this.#connection.useRuns((runs) => orAborted(signal, runs.start(start)), signal),
    );
    return new WorkflowHandle(this.#connection, runId);
  }

  /** Returns the handle of a run that was started here or elsewhere. */
  open<Output = unknown>(runId: string): WorkflowHandle<Output> {
    return new WorkflowHandle(this.#connection, runId);
  }

  /** Returns which worker processes can run which versions of which workflows now. */
  versions(): Promise<WorkflowVersion[]> {
    return this.#connection.useRuns((runs) => runs.versions());
  }

  /** Returns the handles of the latest runs, the newest first; by default 100. */
  async list({ limit = 100 }: { limit?: number } = {}): Promise<WorkflowHandle[]> {
    const ids = await this.#connection.useRuns((runs) => runs.list(limit));
    return ids.map((id) => this.open(id));
  }

  #named(name: string): AnyWorkflow {
    const workflow = this.#known.get(name);
    if (workflow) return workflow;
    const known = [...this.#known.keys()].join(", ") || "none";
    throw new InputError(`no workflow "${name}"`, `known here: ${known}; give them as GlueLLM's workflows`);
  }
}

/** Inside a tool that is run again it is the id of the run that the tool started before. */
function newRunId(name: string, input: unknown): string {
  return `run-${uuidHere(sha256(canonicalJson([name, asJson(input ?? null)])))}`;
}

function checkRange(option: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new InputError(`the options are wrong at ${option}: not a whole number from ${min} to ${max}`);
}
