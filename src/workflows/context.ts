import type { z } from "zod";
import type { CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import type { CompletionResult } from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import type { Agent, AgentSpec } from "../shared/agent.ts";
import type { Guardrail } from "../shared/guardrail.ts";
import type { Logger } from "../shared/logger.ts";
import type { Activity } from "./activity.ts";
import type { RetryPolicy } from "./retry-policy.ts";
import type { WorkflowLimits } from "./workflow-limits.ts";

/** Options of a completion inside a workflow; the run gives priority and deadline where they are absent. */
export type StepOptions<S extends OutputSchema = OutputSchema> = Omit<
  EnqueueOptions<S>,
  "idempotencyKey" | "delayMs" | "conversation" | "stream"
> &
  Cancellable;

/** A step that its run may cancel. */
interface Cancellable {
  /** A signal that cancels the step, as `ctx.cancel` does; default: none. */
  signal?: AbortSignal;
}

/** Options of a call for vectors. */
export interface EmbedOptions
  extends Pick<StepOptions, "cache" | "deadlineMs" | "maxAttempts" | "maxCostUsd"> {
  /** The embeddings model, as `provider:model`. */
  model: string;
  /** The length of each vector; default the model's own. */
  dimensions?: number;
}

/** Options of work in the worker's own process. */
export interface LocalOptions extends Cancellable {
  /** The tries; default: one. Their count survives the worker. A `NonRetryableError` ends them. */
  retry?: RetryPolicy;
  /**
   * The longest time of each try, in milliseconds; default: none. Then its signal aborts, and the try has failed
   * (`step_timeout`).
   */
  timeoutMs?: number;
}

/** Options of waiting for a signal. */
export interface WaitForOptions<T> extends Cancellable {
  /** The longest wait, in milliseconds; default: until the run's deadline. */
  timeoutMs?: number;
  /** A schema that what the signal brings has to fit; default: that of the workflow's `signals`, else anything does. */
  schema?: z.ZodType<T>;
}

/** Options of an activity. */
export interface ActivityCallOptions extends Cancellable {
  /** Its rank among the activities of its name: lower comes first. Default: the run's. */
  priority?: number;
}

/** Options of a child run. */
export interface ChildOptions extends Cancellable {
  /** What becomes of the child run when its parent ends before it: `cancel`, the default, or `abandon`: it goes on. */
  parentClose?: "cancel" | "abandon";
  /** The rank of the child run and its steps: lower comes first. Default: the run's. */
  priority?: number;
}

/** Functions that run side by side, by name. */
export type BranchFunctions = Record<string, (ctx: WorkflowContext) => Promise<unknown>>;
/** The results of such functions, by name. */
export type BranchResults<B extends BranchFunctions> = { [K in keyof B]: Awaited<ReturnType<B[K]>> };

/**
 * The world of a workflow's function: all that it may use of it. A step is known by its scope, its name and which one
 * of that name it is; each is paid for once, however often the function is run again.
 */
export interface WorkflowContext {
  /** The run's id. */
  readonly runId: string;
  /** The version of the code that began the run. */
  readonly version: number;
  /**
   * Calls a model, with tools and repairs, as a job of its own that any worker may take, and returns the result.
   * @throws the job's error, of its class.
   */
  complete<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options?: StepOptions<S>,
  ): Promise<CompletionResult<OutputOf<S>>>;
  /** Calls an agent: `complete` with the agent's model, system prompt and tools. @throws as `complete` */
  agent<S extends OutputSchema>(
    name: string,
    agent: Agent | AgentSpec,
    message: CompletionMessage,
    options?: StepOptions<S>,
  ): Promise<CompletionResult<OutputOf<S>>>;
  /**
   * Calls a model, and returns its structured answer, of the schema's type.
   * @throws as `complete`; StructuredOutputError.
   */
  structured<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options: StepOptions<S> & { schema: S },
  ): Promise<OutputOf<S>>;
  /**
   * Returns the vectors of texts, or of the token ids of texts, in their order, by a call of an embeddings model: a job like that of `complete`, with
   * its budget and retries. It is for providers of the OpenAI dialect.
   * @throws as `complete`
   */
  embed(
    name: string,
    texts: readonly string[] | readonly (readonly number[])[],
    options: EmbedOptions,
  ): Promise<number[][]>;
  /**
   * Does work in this process and returns its result, which `serialize` can keep, and which is recorded; what was under way at a crash is done
   * again. `signal` aborts when the run is cancelled or its worker stops. The work is plain code: a step inside it is
   * refused (InputError, `nested_step`).
   * @throws WorkflowError with class name, code, text, stack and causes of what `work` threw, after the last try
   */
  run<T>(name: string, work: (signal: AbortSignal) => T | Promise<T>, options?: LocalOptions): Promise<T>;
  /**
   * Calls a retriever or an evaluator of the worker by its reference (`retriever:docs`), as `run` does work; the
   * workflow's `requires` has to name it.
   */
  call<T>(name: string, reference: string, args: unknown, options?: LocalOptions): Promise<T>;
  /**
   * Has any worker with this activity do it, as a job of its own, and returns its result. The step is named after the
   * activity.
   * @throws InputError for an input that does not fit, cannot be kept, or is larger than 20 MiB as JSON (`too_large`); WorkflowError with class
   * name, code, text, stack and causes of what its function threw, after the last try
   */
  activity<Input, Output, Given>(
    activity: Activity<Input, Output, Given>,
    input: Given,
    options?: ActivityCallOptions,
  ): Promise<Output>;
  /** The same by the activity's name: its worker checks the input. */
  activity<T = unknown>(activity: string, input?: unknown, options?: ActivityCallOptions): Promise<T>;
  /** Runs another workflow, and returns its output. @throws the error that the run failed with. */
  child<Input, Output, Given>(
    name: string,
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options?: ChildOptions,
  ): Promise<Output>;
  /** Runs functions side by side, each with a context whose steps are named after it: `left/draft`. */
  branches<B extends BranchFunctions>(branches: B): Promise<BranchResults<B>>;
  /** Sleeps so many milliseconds; the run takes up no worker meanwhile. */
  sleep(ms: number): Promise<void>;
  /** Sleeps so many milliseconds, as a step of this name. */
  sleep(name: string, ms: number): Promise<void>;
  /**
   * Waits for `handle.signal(name, data)`, which may have come before, and returns the data.
   * @throws GlueError `signal_timeout`.
   */
  waitFor<T = unknown>(signal: string, options?: WaitForOptions<T>): Promise<T>;
  /**
   * Ends a step of this name (`draft`, `draft#2`) that nobody needs any more, such as the loser of a race: its job, child
   * run or work is aborted, and its promise rejects with JobCancelledError. Returns false when it is not under way.
   */
  cancel(step: string): boolean;
  /**
   * Has a function answer `run.update(name, data)`. It is called once for each update, in the order in which they came, and
   * again in each replay, so that it may change what the workflow's function holds: what costs or has effects in it goes
   * through `ctx`. Its value, or what it throws, is recorded. An update that came before waits for it.
   */
  onUpdate<Data, Value>(
    name: string,
    schema: z.ZodType<Data>,
    handle: (data: Data) => Value | Promise<Value>,
  ): void;
  /**
   * Has a function called when the run is cancelled, the last one first, after `catch` and `finally` blocks have run. It
   * has `timeoutMs`, by default 10,000. It may be called again when its worker is lost meanwhile.
   */
  onCancel(handle: () => unknown, options?: { timeoutMs?: number }): void;
  /**
   * Ends this part of the run and goes on as new with another input, under the same run id: from the beginning of the function,
   * with an empty journal, by the code of the worker. Signals that no wait has got and updates without an answer come along; steps under
   * way are ended. It is the last thing that the function does: `return ctx.continueAsNew(input)`; `finally` blocks do not run.
   * @throws InputError for an input that the workflow does not take, and (`continue_not_last`) in a branch; the run fails with
   * `continue_not_last` when the function does something after it
   */
  continueAsNew(input: unknown): Promise<never>;
  /** Returns the time of the last thing that happened in the run, in epoch milliseconds. */
  now(): number;
  /** Returns a random number from 0 to below 1, the same in each replay. */
  random(): number;
  /** Returns a random UUID, the same in each replay. */
  uuid(): string;
  /** Returns false for runs that came past this place before the code had the patch, else true. */
  patch(id: string): boolean;
  /** A logger that says nothing a second time. */
  readonly log: Pick<Logger, "debug" | "info" | "warn" | "error">;
  /** Small JSON that the run's status shows. */
  readonly metadata: { get(key: string): unknown; set(key: string, value: unknown): void };
}

/** The parts of a workflow. */
export interface WorkflowOptions<Input, Output, Given = Input> extends WorkflowLimits<Input> {
  /** The name: letters, digits, `_`, `-` and `.`; unique among the workflows of a namespace. */
  name: string;
  /**
   * The version of the code, from 1; default 1. A run stays with workers of the version that began it while one is alive;
   * later versions take it over when none is left. A worker leaves runs of later versions to those that have them.
   */
  version?: number;
  /**
   * How long after the last worker of an earlier version its runs are taken over, in milliseconds; default 10,000. Code whose
   * `run` itself calls `ctx.patch` takes them over at once; give 0 when only functions that it calls do.
   */
  versionGraceMs?: number;
  /** The schema of the input, checked when a run is started; its defaults and transforms shape what the function gets. */
  input: z.ZodType<Input, Given>;
  /** The schema of the output, checked when the function has returned. */
  output: z.ZodType<Output>;
  /**
   * Schemas of the signals that the run waits for, by name. Who signals a run is told at once what does not fit (`invalid_signal`), and console,
   * API and CLI show what it takes; `ctx.waitFor` checks the data too. Signals without one bring anything. Default: none.
   */
  signals?: Readonly<Record<string, z.ZodType>>;
  /**
   * The function: plain async code. What costs, has effects or may differ a second time goes through `ctx`: the
   * function is run again from its beginning after a crash, and gets from the journal what it had.
   */
  run: (ctx: WorkflowContext, input: Input) => Promise<Output>;
  /** Rules on what goes to models and what comes of it, in every call of a run beside those of the call itself; default none. */
  guardrails?: readonly (Guardrail | string)[];
  /**
   * Returns references to the retrievers and evaluators that this input needs (`retriever:docs`): a worker without them
   * leaves the run to others. Default: none.
   */
  requires?: (input: Input) => readonly string[];
}

/** A durable function; `defineWorkflow` makes one. */
export interface Workflow<Input = unknown, Output = unknown, Given = Input>
  extends WorkflowOptions<Input, Output, Given> {
  version: number;
}
