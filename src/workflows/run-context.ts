import { AsyncLocalStorage } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import { toCompletionInput } from "../calls/completion-input.ts";
import type { CompletionMessage } from "../calls/completion-options.ts";
import { type CompletionResult, toResult } from "../calls/completion-result.ts";
import type { ModelNames } from "../calls/model-chain.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import type { Agent, AgentSpec } from "../shared/agent.ts";
import { canonicalJson } from "../shared/canonical-json.ts";
import { askedOf } from "../shared/catalog.ts";
import { requestDigest, sha256 } from "../shared/digest.ts";
import { InputError } from "../shared/errors.ts";
import { asJson } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import { encode } from "../shared/serialize.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import type { Tool } from "../shared/tool.ts";
import { textToVector } from "../shared/vector-text.ts";
import type { CompletedRecord } from "../store/completed-record.ts";
import { MAX_DEADLINE_MS } from "../store/run-record.ts";
import type {
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
import type { Effect } from "./effect.ts";
import type { Execution } from "./execution.ts";
import type { Seeds } from "./seeds.ts";
import { inputDigestForm } from "./start-run.ts";
import { subjectOf } from "./step-model.ts";
import { checkLocal } from "./step-options.ts";

export interface RunContextOptions {
  runId: string;
  version: number;
  seeds: Seeds;
  execution: Execution;
  settings: Settings;
  /** The model of calls that name none. */
  defaultModel: ModelNames;
  /** Told of each tool that a call brings along. */
  offerTool: (tool: Tool) => void;
  /** Retrievers and evaluators, by reference. */
  functions: ReadonlyMap<string, StepFunction>;
  logger: Logger;
  metadata: Map<string, unknown>;
  /** How often each name was used; branches share it. */
  counts: Map<string, number>;
}

const DIGEST_CHARS = 12;
/** # and / tell occurrences and scopes. */
const STEP_NAME = /^[^#/\n]{1,100}$/;

/** The context of the function that is running, for `task`. */
export const currentContext = new AsyncLocalStorage<WorkflowContext>();

/** The local step whose work is under way. */
const currentWork = new AsyncLocalStorage<string>();

/** The context that a function gets; each branch has one of its own. */
export class RunContext implements WorkflowContext {
  readonly runId: string;
  readonly version: number;
  readonly log: WorkflowContext["log"];
  readonly metadata: WorkflowContext["metadata"];
  readonly #options: RunContextOptions;
  readonly #scope: string;

  constructor(options: RunContextOptions, scope = "") {
    const { runId, version, execution, metadata } = options;
    this.runId = runId;
    this.version = version;
    this.#options = options;
    this.#scope = scope;
    this.log = quietInReplay(options.logger, execution);
    this.metadata = {
      get: (key) => metadata.get(key),
      set: (key, value) => {
        encode(value, `metadata "${key}"`);
        metadata.set(key, asJson(value));
      },
    };
  }

  complete<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options: StepOptions<S> = {},
  ): Promise<CompletionResult<OutputOf<S>>> {
    return caught(async () => {
      const { settings, defaultModel, offerTool } = this.#options;
      const offerTools = (tools: readonly Tool[]) => tools.forEach(offerTool);
      const defaults = { settings, model: defaultModel, keyNeeded: false, offerTools };
      const input = toCompletionInput(message, options, defaults);
      const { model, fallbacks = [], request } = input;
      const result = await this.#ask<CompletedRecord | CompletionResult<OutputOf<S>>>(
        name,
        requestDigest(model, { ...request, run: askedOf(input) }),
        { kind: "completion", input },
        subjectOf([model, ...fallbacks].map(({ key }) => key)),
      );
      // A fork may have put another result in its place.
      return "body" in result ? toResult(result, options.schema) : result;
    });
  }

  agent<S extends OutputSchema>(
    name: string,
    { model, systemPrompt, tools, maxToolIterations }: Agent | AgentSpec,
    message: CompletionMessage,
    options: StepOptions<S> = {},
  ): Promise<CompletionResult<OutputOf<S>>> {
    return this.complete(name, message, {
      model,
      system: systemPrompt,
      tools,
      maxToolIterations,
      ...options,
    });
  }

  async structured<S extends OutputSchema>(
    name: string,
    message: CompletionMessage,
    options: StepOptions<S> & { schema: S },
  ): Promise<OutputOf<S>> {
    return (await this.complete(name, message, options)).output;
  }

  async embed(
    name: string,
    texts: readonly string[],
    { dimensions, ...options }: EmbedOptions,
  ): Promise<number[][]> {
    const messages = texts.map((content) => ({ role: "user" as const, content }));
    const { rawResponse } = await this.complete(name, messages, {
      ...options,
      extra: { embedding: { dimensions } },
    });
    return rawResponse.choices.map(({ message }) => textToVector(message.content ?? ""));
  }

  run<T>(
    name: string,
    work: (signal: AbortSignal) => T | Promise<T>,
    options: LocalOptions = {},
  ): Promise<T> {
    const watched = (signal: AbortSignal) => currentWork.run(name, () => work(signal));
    return caught(async () =>
      this.#ask<T>(name, "", { kind: "local", work: watched, ...checkLocal(options) }),
    );
  }

  call<T>(name: string, reference: string, args: unknown, options?: LocalOptions): Promise<T> {
    const found = this.#options.functions.get(reference);
    if (!found) return Promise.reject(new InputError(`this worker has no ${reference}`));
    return this.run(name, (signal) => found.run(args as never, signal) as T, options);
  }

  child<Input, Output, Given>(
    name: string,
    { name: workflow, version, input: schema }: Workflow<Input, Output, Given>,
    input: Given,
    { priority }: ChildOptions = {},
  ): Promise<Output> {
    return caught(async () => {
      checkWith(schema, input, `the input of workflow "${workflow}"`);
      const effect = { kind: "child" as const, workflow, version, input, priority };
      return this.#ask<Output>(name, canonicalJson(inputDigestForm(input)), effect, workflow);
    });
  }

  async branches<B extends BranchFunctions>(branches: B): Promise<BranchResults<B>> {
    refuseWithinWork("branches");
    const entries = Object.entries(branches).map(async ([name, branch]) => {
      const context = new RunContext(this.#options, `${this.#nameOf(name)}/`);
      return [name, await currentContext.run(context, () => branch(context))] as const;
    });
    return Object.fromEntries(await Promise.all(entries)) as BranchResults<B>;
  }

  sleep(nameOrMs: string | number, forMs?: number): Promise<void> {
    const [name, ms] = typeof nameOrMs === "string" ? [nameOrMs, forMs ?? Number.NaN] : ["sleep", nameOrMs];
    if (!(ms >= 0 && ms <= MAX_DEADLINE_MS))
      return Promise.reject(new InputError(`a sleep must last from 0 ms to 30 days, not ${ms}`));
    return caught(async () => this.#ask<void>(name, String(ms), { kind: "sleep", ms }));
  }

  waitFor<T = unknown>(signal: string, { timeoutMs, schema }: WaitForOptions<T> = {}): Promise<T> {
    if (timeoutMs !== undefined && !(timeoutMs >= 0))
      return Promise.reject(new InputError(`timeoutMs must be at least 0, not ${timeoutMs}`));
    // The run itself ends before that.
    const bounded = timeoutMs === undefined || timeoutMs > MAX_DEADLINE_MS ? undefined : timeoutMs;
    return caught(async () => {
      const data = await this.#ask<T>(signal, "", { kind: "signal", timeoutMs: bounded }, signal);
      return schema ? checkWith(schema, data, `signal "${signal}"`) : data;
    });
  }

  now(): number {
    return this.#options.execution.now;
  }

  random(): number {
    if (currentWork.getStore()) return Math.random();
    return Number.parseInt(this.#drawn("random").slice(0, 12), 16) / 2 ** 48;
  }

  uuid(): string {
    if (currentWork.getStore()) return randomUUID();
    const hex = this.#drawn("uuid");
    const variant = ((Number.parseInt(hex[16] ?? "0", 16) & 3) | 8).toString(16);
    const parts = [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`];
    return [...parts, `${variant}${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
  }

  patch(id: string): boolean {
    refuseWithinWork(`patch "${id}"`);
    return this.#options.execution.patch(id);
  }

  #ask<T>(name: string, question: string, effect: Effect, subject?: string): Promise<T> {
    if (!STEP_NAME.test(name)) {
      throw new InputError(`"${name}" cannot name a step`, "use up to 100 characters without # and /");
    }
    refuseWithinWork(`step "${name}"`);
    const { execution, seeds } = this.#options;
    const digest = sha256(`${subject ?? ""}\n${question}`).slice(0, DIGEST_CHARS);
    const id = this.#nameOf(name);
    seeds.onAsk(id, execution.seen);
    return execution.ask({ id, kind: effect.kind, digest, subject, effect }) as Promise<T>;
  }

  /** `scope/name`, from its second use on `scope/name#2`. */
  #nameOf(name: string): string {
    const { counts } = this.#options;
    const path = `${this.#scope}${name}`;
    const count = (counts.get(path) ?? 0) + 1;
    counts.set(path, count);
    return count === 1 ? path : `${path}#${count}`;
  }

  #drawn(purpose: string): string {
    return sha256(`${this.#options.seeds.current}\n${this.#nameOf(`\n${purpose}`)}`);
  }
}

/** What a step's work asks for is not asked for in a replay, which has the step's result: it would not be found again. */
function refuseWithinWork(what: string): void {
  const outer = currentWork.getStore();
  if (outer === undefined) return;
  throw new InputError(
    `${what} is inside the work of step "${outer}"`,
    "a step's work is plain code: ask for the inner step beside it, and give its result to the work",
    "nested_step",
  );
}

/** A rejection that its branch looks at later must not end the process meanwhile. */
function caught<T>(work: () => Promise<T>): Promise<T> {
  const promise = work();
  promise.catch(() => {});
  return promise;
}

function quietInReplay(logger: Logger, execution: Execution): WorkflowContext["log"] {
  type Level = keyof WorkflowContext["log"];
  const at = (level: Level) =>
    ((...args: Parameters<Logger["info"]>) => {
      if (!execution.isReplaying) logger[level](...args);
    }) as Logger["info"];
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
