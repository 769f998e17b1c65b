import type { z } from "zod";
import type { CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import type { CompletionResult } from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import type { Agent, AgentSpec } from "../shared/agent.ts";
import type { Logger } from "../shared/logger.ts";

/** Options of a completion inside a workflow; the run gives priority and deadline where they are absent. */
export type StepOptions<S extends OutputSchema = OutputSchema> = Omit<
  EnqueueOptions<S>,
  "idempotencyKey" | "delayMs" | "conversation" | "stream"
>;

export interface EmbedOptions
  extends Pick<StepOptions, "cache" | "deadlineMs" | "maxAttempts" | "maxCostUsd"> {
  /** `provider:model`. */
  model: string;
  /** Of each vector; default the model's own. */
  dimensions?: number;
}

export interface RetryPolicy {
  /** Tries in all; default 1. */
  maxAttempts?: number;
  /** Before the second try, doubling from then on; default 1,000. */
  minWaitMs?: number;
  /** Default 30,000. */
  maxWaitMs?: number;
}

export interface LocalOptions {
  retry?: RetryPolicy;
}

export interface WaitForOptions<T> {
  /** Longest wait; default: until the run's deadline. */
  timeoutMs?: number;
  /** Checks what the signal brings. */
  schema?: z.ZodType<T>;
}

export interface ChildOptions {
  /** Default: the run's. */
  priority?: number;
}

export type BranchFunctions = Record<string, (ctx: WorkflowContext) => Promise<unknown>>;
export type BranchResults<B extends BranchFunctions> = { [K in keyof B]: Awaited<ReturnType<B[K]>> };

/**
 * What a workflow's function may use of the world. A step is known by its scope, its name and which one of that name it
 * is; each is paid for once, however often the function is run again.
 */
export interface WorkflowContext {
  readonly runId: string;
  /** Of the code that began the run. */
  readonly version: number;
  /**
   * A call of a model, with its tools and repairs, as a job of its own that any worker may take.
   * @throws the job's error, of its class.
   */
  complete<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options?: StepOptions<S>,
  ): Promise<CompletionResult<OutputOf<S>>>;
  /** A call of an agent: `complete` with the agent's model, system prompt and tools. */
  agent<S extends OutputSchema>(
    name: string,
    agent: Agent | AgentSpec,
    message: CompletionMessage,
    options?: StepOptions<S>,
  ): Promise<CompletionResult<OutputOf<S>>>;
  /** The structured answer of a call, of the schema's type. @throws as `complete`; StructuredOutputError. */
  structured<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options: StepOptions<S> & { schema: S },
  ): Promise<OutputOf<S>>;
  /**
   * The vectors of texts, in their order: a call of an embeddings model, as a job like that of `complete`, with its budget
   * and retries. For providers of the OpenAI dialect.
   * @throws as `complete`
   */
  embed(name: string, texts: readonly string[], options: EmbedOptions): Promise<number[][]>;
  /**
   * Work in this process whose result, JSON, is recorded; what was under way at a crash is done again.
   * `signal` aborts when the run is cancelled or its worker stops.
   * @throws WorkflowError with the message of what `work` threw, after the last try
   */
  run<T>(name: string, work: (signal: AbortSignal) => T | Promise<T>, options?: LocalOptions): Promise<T>;
  /**
   * A retriever or an evaluator of the worker's, by its reference (`retriever:docs`), as `run` does it; the workflow's
   * `requires` has to name it.
   */
  call<T>(name: string, reference: string, args: unknown, options?: LocalOptions): Promise<T>;
  /** A run of another workflow, and its output. @throws the error that the run failed with. */
  child<Input, Output, Given>(
    name: string,
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options?: ChildOptions,
  ): Promise<Output>;
  /** Runs functions side by side, each with a context whose steps are named after it: `left/draft`. */
  branches<B extends BranchFunctions>(branches: B): Promise<BranchResults<B>>;
  /** Costs nothing while it lasts. */
  sleep(ms: number): Promise<void>;
  sleep(name: string, ms: number): Promise<void>;
  /** Waits for `handle.signal(name, data)`, which may have come before. @throws GlueError `signal_timeout`. */
  waitFor<T = unknown>(signal: string, options?: WaitForOptions<T>): Promise<T>;
  /** The time of the last thing that happened in the run, in epoch milliseconds. */
  now(): number;
  /** From 0 to below 1. */
  random(): number;
  uuid(): string;
  /** False for runs that came past this place before the code had the patch. */
  patch(id: string): boolean;
  /** Says nothing a second time. */
  readonly log: Pick<Logger, "debug" | "info" | "warn" | "error">;
  /** Small JSON that the run's status shows. */
  readonly metadata: { get(key: string): unknown; set(key: string, value: unknown): void };
}

export interface WorkflowOptions<Input, Output, Given = Input> {
  /** Letters, digits, `_`, `-` and `.`; unique among the workflows of a namespace. */
  name: string;
  /** Of the code, from 1; default 1. A worker leaves runs of later versions to those that have them. */
  version?: number;
  /** Checked when a run is started; its defaults and transforms shape what the function gets. */
  input: z.ZodType<Input, Given>;
  /** Checked when the function has returned. */
  output: z.ZodType<Output>;
  /**
   * Plain async code. What costs, has effects or may differ a second time goes through `ctx`: the function is run again
   * from its beginning after a crash, and gets from the journal what it had.
   */
  run: (ctx: WorkflowContext, input: Input) => Promise<Output>;
  /** References to retrievers and evaluators that this input needs (`retriever:docs`): a worker without them leaves the run to others. */
  requires?: (input: Input) => readonly string[];
}

/** A durable function, made by `defineWorkflow`. */
export interface Workflow<Input = unknown, Output = unknown, Given = Input>
  extends WorkflowOptions<Input, Output, Given> {
  version: number;
}
