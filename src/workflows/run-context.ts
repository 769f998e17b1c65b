import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import type { z } from "zod";
import { type InputDefaults, toCompletionInput } from "../calls/completion-input.ts";
import type { CompletionMessage } from "../calls/completion-options.ts";
import { type CompletionResult, toResult } from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import { type Agent, type AgentParts, type AgentSpec, callOptionsOf, isAgent } from "../shared/agent.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { askedOf } from "../shared/catalog.ts";
import { deploymentsRef } from "../shared/deployments.ts";
import { requestDigest } from "../shared/digest.ts";
import { toEmbeddingRequest } from "../shared/embedding-input.ts";
import { InputError, JobCancelledError } from "../shared/errors.ts";
import { asJson } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import { encode } from "../shared/serialize.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { textToVector } from "../shared/vector-text.ts";
import type { CompletedRecord } from "../store/completed-record.ts";
import { MAX_DEADLINE_MS } from "../store/run-record.ts";
import type { AnyActivity } from "./activity.ts";
import { activityEffect } from "./activity-effect.ts";
import type { CancelHandler } from "./clean-up.ts";
import type {
  ActivityCallOptions,
  BranchFunctions,
  BranchResults,
  ChildOptions,
  EmbedOptions,
  LocalOptions,
  StepOptions,
  WaitForOptions,
  Workflow,
  WorkflowContext,
} from "./context.ts";
import { step } from "./listeners.ts";
import { quietInReplay } from "./replay-log.ts";
import { checkDuration } from "./retry-policy.ts";
import { notLast } from "./run-errors.ts";
import { inputDigestForm } from "./start-run.ts";
import { StepAsker, type StepAskerOptions } from "./step-asker.ts";
import { subjectOf } from "./step-model.ts";
import { checkLocal } from "./step-options.ts";
import { currentWork, refuseWithinWork } from "./within-work.ts";
import { startLimits } from "./workflow-limits.ts";

export interface RunContextOptions extends StepAskerOptions {
  runId: string;
  version: number;
  settings: Settings;
  /** Of calls that say nothing of it. */
  defaults: Pick<InputDefaults, "model" | "providerOptions" | "guardrails">;
  /** Told of what a call brings along: tools, agents, guardrails. */
  offerParts: (parts: AgentParts) => void;
  /** Retrievers and evaluators, by reference. */
  functions: ReadonlyMap<string, StepFunction>;
  logger: Logger;
  metadata: Map<string, unknown>;
  /** Of the workflow: schemas of its signals. */
  signals: Workflow["signals"];
  /** @throws InputError when it is no input of the run's workflow. */
  checkInput: (input: unknown) => void;
  /** What the function has given `onCancel`. */
  cancelHandlers: CancelHandler[];
  /** Told when the function has set some. */
  onMetadata: () => void;
}

/** The context of the function that is running, for `task`. */
export const currentContext = new AsyncLocalStorage<WorkflowContext>();

/** The context that a function gets; each branch has one of its own. */
export class RunContext implements WorkflowContext {
  readonly runId: string;
  readonly version: number;
  readonly log: WorkflowContext["log"];
  readonly metadata: WorkflowContext["metadata"];
  readonly #options: RunContextOptions;
  readonly #steps: StepAsker;

  constructor(options: RunContextOptions, scope = options.execution.scope) {
    const { runId, version, execution, metadata } = options;
    this.runId = runId;
    this.version = version;
    this.#options = options;
    this.#steps = new StepAsker(options, scope);
    this.log = quietInReplay(options.logger, execution);
    this.metadata = {
      get: (key) => metadata.get(key),
      set: (key, value) => {
        encode(value, `metadata "${key}"`);
        metadata.set(key, asJson(value));
        options.onMetadata();
      },
    };
  }

  complete<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options: StepOptions<S> = {},
  ): Promise<CompletionResult<OutputOf<S>>> {
    return step(async (listeners) => {
      const { signal, ...rest } = options;
      const { settings, defaults, offerParts } = this.#options;
      const input = toCompletionInput(message, rest, {
        ...defaults,
        settings,
        keyNeeded: false,
        offerParts,
        now: this.now(),
      });
      const { model, fallbacks = [], alias, request } = input;
      const asked = { ...request, run: askedOf(input) };
      // Which deployment is drawn first may change with the settings.
      const result = await this.#steps.ask<CompletedRecord | CompletionResult<OutputOf<S>>>(
        name,
        requestDigest(alias === undefined ? model : deploymentsRef(alias), asked),
        { kind: "completion", input },
        { subject: subjectOf([model, ...fallbacks].map(({ key }) => key)), signal, listeners },
      );
      // A fork may have put another result in its place.
      return "body" in result ? toResult(result, options.schema) : result;
    });
  }

  agent<S extends OutputSchema>(
    name: string,
    agent: Agent | AgentSpec,
    message: CompletionMessage,
    options: StepOptions<S> = {},
  ): Promise<CompletionResult<OutputOf<S>>> {
    if (isAgent(agent)) return this.complete(name, message, { ...callOptionsOf(agent), agent, ...options });
    const { model, systemPrompt: system, tools, maxToolIterations, guardrails } = agent;
    const own = { model, system, tools, maxToolIterations, guardrails };
    return this.complete(name, message, { agent: agent.name, ...own, ...options });
  }

  structured<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options: StepOptions<S> & { schema: S },
  ): Promise<OutputOf<S>> {
    return step(async () => (await this.complete(name, message, options)).output);
  }

  async embed(
    name: string,
    texts: readonly string[] | readonly (readonly number[])[],
    { dimensions, ...options }: EmbedOptions,
  ): Promise<number[][]> {
    const asked = toEmbeddingRequest(texts);
    if (!asked) throw new InputError("what is embedded is no list of texts, or of lists of token ids");
    const { messages, tokens } = asked;
    const { rawResponse } = await this.complete(name, messages, {
      ...options,
      extra: { embedding: { dimensions, ...(tokens && { tokens }) } },
    });
    return rawResponse.choices.map(({ message }) => textToVector(message.content ?? ""));
  }

  run<T>(
    name: string,
    work: (signal: AbortSignal) => T | Promise<T>,
    options: LocalOptions = {},
  ): Promise<T> {
    const marked = (signal: AbortSignal) => currentWork.run(name, () => work(signal));
    const { signal } = options;
    return step(async (listeners) => {
      const effect = { kind: "local" as const, work: marked, ...checkLocal(options) };
      return this.#steps.ask<T>(name, "", effect, { signal, listeners });
    });
  }

  call<T>(name: string, reference: string, args: unknown, options?: LocalOptions): Promise<T> {
    const found = this.#options.functions.get(reference);
    if (!found) return Promise.reject(new InputError(`this worker has no ${reference}`));
    return this.run(name, (signal) => found.run(args as never, signal) as T, options);
  }

  activity<T>(
    activity: AnyActivity | string,
    input: unknown,
    { signal, priority }: ActivityCallOptions = {},
  ): Promise<T> {
    return step(async (listeners) => {
      const effect = activityEffect(activity, input, priority);
      const subject = effect.activity;
      const question = canonicalJson(effect.input);
      return this.#steps.ask<T>(subject, question, effect, { subject, signal, listeners });
    });
  }

  child<Input, Output, Given>(
    name: string,
    limited: Workflow<Input, Output, Given>,
    input: Given,
    { priority, signal, parentClose }: ChildOptions = {},
  ): Promise<Output> {
    const { name: workflow, version, input: schema } = limited;
    return step(async (listeners) => {
      const checked = checkWith(schema, input, `the input of workflow "${workflow}"`);
      // A parent waits for the child that it has named: others cannot stand for it.
      const { throttle } = startLimits(limited, checked);
      const limits = throttle && { throttle };
      const abandon = parentClose === "abandon";
      const effect = { kind: "child" as const, workflow, version, input, priority, abandon, limits };
      const question = canonicalJson(inputDigestForm(input));
      return this.#steps.ask<Output>(name, question, effect, { subject: workflow, signal, listeners });
    });
  }

  async branches<B extends BranchFunctions>(branches: B): Promise<BranchResults<B>> {
    refuseWithinWork("branches");
    const entries = Object.entries(branches).map(async ([name, branch]) => {
      const context = new RunContext(this.#options, `${this.#steps.nextId(name)}/`);
      return [name, await currentContext.run(context, () => branch(context))] as const;
    });
    return Object.fromEntries(await Promise.all(entries)) as BranchResults<B>;
  }

  sleep(nameOrMs: string | number, forMs?: number): Promise<void> {
    const [name, ms] = typeof nameOrMs === "string" ? [nameOrMs, forMs ?? Number.NaN] : ["sleep", nameOrMs];
    if (!(ms >= 0 && ms <= MAX_DEADLINE_MS))
      return Promise.reject(new InputError(`a sleep must last from 0 to ${MAX_DEADLINE_MS} ms, not ${ms}`));
    return step(async (listeners) =>
      this.#steps.ask<void>(name, String(ms), { kind: "sleep", ms }, { listeners }),
    );
  }

  waitFor<T = unknown>(subject: string, options: WaitForOptions<T> = {}): Promise<T> {
    const declared = this.#options.signals?.[subject] as z.ZodType<T> | undefined;
    const { timeoutMs, schema = declared, signal } = options;
    if (timeoutMs !== undefined && !(timeoutMs >= 0))
      return Promise.reject(new InputError(`timeoutMs must be at least 0, not ${timeoutMs}`));
    // The run itself ends before that.
    const bounded = timeoutMs === undefined || timeoutMs > MAX_DEADLINE_MS ? undefined : timeoutMs;
    return step(async (listeners) => {
      const effect = { kind: "signal" as const, timeoutMs: bounded, schema: options.schema };
      const data = await this.#steps.ask<T>(subject, "", effect, { subject, signal, listeners });
      return schema ? checkWith(schema, data, `signal "${subject}"`) : data;
    });
  }

  cancel(name: string): boolean {
    refuseWithinWork("cancel");
    return this.#options.execution.cancel(`${this.#steps.scope}${name}`);
  }

  onUpdate<Data, Value>(
    name: string,
    schema: z.ZodType<Data>,
    handle: (data: Data) => Value | Promise<Value>,
  ): void {
    refuseWithinWork("onUpdate");
    this.#options.execution.updates.handle(name, (data) =>
      handle(checkWith(schema, data, `update "${name}"`)),
    );
  }

  onCancel(handle: () => unknown, { timeoutMs }: { timeoutMs?: number } = {}): void {
    if (timeoutMs !== undefined) checkDuration("timeoutMs", timeoutMs, 1);
    this.#options.cancelHandlers.push({ handle, timeoutMs });
  }

  async continueAsNew(input: unknown): Promise<never> {
    refuseWithinWork("continueAsNew");
    const { execution, checkInput } = this.#options;
    if (this.#steps.scope !== execution.scope) throw notLast();
    checkInput(input);
    if (execution.isCancelled) throw new JobCancelledError({ message: "the run was cancelled" });
    return execution.continueAsNew(input);
  }

  now(): number {
    return this.#options.execution.now;
  }

  random(): number {
    if (currentWork.getStore()) return Math.random();
    return this.#options.seeds.random(this.#steps.nextId("\nrandom"));
  }

  uuid(): string {
    if (currentWork.getStore()) return randomUUID();
    return this.#options.seeds.uuid(this.#steps.nextId("\nuuid"));
  }

  patch(id: string): boolean {
    refuseWithinWork(`patch "${id}"`);
    return this.#options.execution.patch(id);
  }
}
