import { toCompletionInput } from "../calls/completion-input.ts";
import type { CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import type { OutputSchema } from "../calls/output-schema.ts";
import { type ListedApproval, listApprovals } from "../producers/approvals.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import {
  type ErrorQuery,
  type ErrorReport,
  errorQuerySchema,
  readErrorReport,
} from "../producers/error-report.ts";
import type { RolloutReport } from "../rollouts/write-results.ts";
import { type AgentCode, type AgentParts, addParts, emptyCode, partsOfAgents } from "../shared/agent.ts";
import { InputError } from "../shared/errors.ts";
import { isGuardrail } from "../shared/guardrail.ts";
import { checkWith } from "../shared/schema-check.ts";
import { loadSettings, type Settings, withSettings } from "../shared/settings.ts";
import { addStepFunctions, type StepFunction, stepFunctionsByName } from "../shared/step-function.ts";
import { addSteps, type Steps } from "../shared/steps.ts";
import type { Owner } from "../shared/tenant.ts";
import type { ConversationRef } from "../store/conversation.ts";
import { readSemanticReport, type SemanticReport } from "../store/semantic-report.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { Batches } from "./batches.ts";
import { Caller } from "./caller.ts";
import { clientOptionsSchema, type GlueLLMOptions } from "./client-options.ts";
import { CompletionHandle } from "./completion-handle.ts";
import { Connection } from "./connection.ts";
import { Conversation, type ConversationOptions, conversationRef } from "./conversation.ts";
import { DeadLetters } from "./dead-letters.ts";
import type { RescoreOptions, RolloutOptions } from "./rollout-options.ts";
import { Schedules } from "./schedules.ts";
import { checkKeys } from "./workflow-keys.ts";
import { Workflows } from "./workflows.ts";

/** @internal The connection that a process's clients share. */
export interface SharedConnection {
  connection: Connection;
  /** Whether the providers' keys are needed here, since this process works too. */
  keyNeeded: boolean;
  /** The key of the API in whose name it works, and whether that has a cost limit. */
  by?: string | undefined;
  hasCostLimit?: boolean;
}

/**
 * A client, which makes completions through durable jobs: a call waits its turn within the account's limits, survives crashes, and an answer
 * is never paid for twice. Redis and, in mode `local`, a worker are opened by the first call.
 *
 * ```ts
 * await using glue = new GlueLLM({ model: "openai:gpt-4o-mini" });
 * const { finalResponse } = await glue.complete("Name a prime number above 100.");
 * ```
 */
export class GlueLLM extends Caller implements AsyncDisposable {
  readonly #options: GlueLLMOptions;
  readonly #settings: Settings;
  readonly #isLocal: boolean;
  readonly #keyNeeded: boolean;
  readonly #owner: Owner;
  readonly #hasCostLimit: boolean;
  readonly #code: AgentCode;
  readonly #functions: Map<string, StepFunction>;
  readonly #memory: Conversation | undefined;
  /** The durable workflows: start, open, list. */
  readonly workflows: Workflows;
  /** What runs at times: create, list, get, pause, resume, trigger, delete, next. */
  readonly schedules: Schedules;
  /** Files of rows: run, open, list, cancel. */
  readonly batches: Batches;
  /** What failed for good: list, show, replay, drop. */
  readonly deadLetters: DeadLetters;

  /**
   * Makes a client; it opens nothing yet.
   * @throws ConfigurationError listing every setting that is wrong; InputError naming the option that is unknown or
   * wrong, or `duplicate_tool`.
   * @param shared of a process that has many clients over one connection, which it closes itself
   */
  constructor(given: GlueLLMOptions = {}, shared?: SharedConnection) {
    const options = checkWith(clientOptionsSchema, given, "the client's options", "are");
    const settings = withSettings(loadSettings(), options.settings ?? {});
    const { queueGlobs, idleCloseMs } = options;
    const logger = options.logger ?? loggerOf(settings, "error");
    const isLocal = (options.mode ?? (settings.redisUrl ? "fleet" : "local")) === "local";
    const code = emptyCode();
    const own = partsOfAgents([], options.tools ?? []);
    addParts(code, {
      ...own,
      guardrails: [...own.guardrails, ...(options.guardrails ?? []).filter(isGuardrail)],
    });
    const functions = stepFunctionsByName(options.functions ?? []);
    const connection =
      shared?.connection ??
      new Connection({
        settings,
        logger,
        queueGlobs,
        idleCloseMs,
        runsWorker: isLocal,
        code,
        workflows: options.workflows,
        functions,
        activities: options.activities,
        defaultModel: options.model,
        providerOptions: options.providerOptions,
      });
    super(connection);
    const { maxToolIterations = settings.maxToolIterations } = options;
    // Who asks by way of the API says all of it.
    const { system = shared ? undefined : settings.defaultSystemPrompt } = options;
    this.#options = { ...options, system, maxToolIterations };
    this.#settings = settings;
    this.#isLocal = isLocal;
    this.#keyNeeded = shared?.keyNeeded ?? isLocal;
    this.#owner = { tenant: options.tenant, by: shared?.by };
    this.#hasCostLimit = shared?.hasCostLimit ?? false;
    this.#code = code;
    this.#functions = functions;
    const [defaultModel] = [options.model ?? []].flat();
    const checkRun = isLocal ? (input: unknown) => checkKeys(input, settings, defaultModel) : undefined;
    this.workflows = new Workflows(connection, options.workflows, checkRun, this.#owner);
    this.schedules = new Schedules(connection, {
      workflows: this.workflows,
      defaultModel: options.model ?? settings.defaultModel,
      settings,
      needsPrices: this.#hasCostLimit,
      owner: this.#owner,
      toInput: (message, own) => this.#toInput(message, own, undefined),
    });
    this.batches = new Batches(connection, {
      settings,
      logger,
      model: defaultModel,
      providerOptions: options.providerOptions,
      keyNeeded: this.#keyNeeded,
      owner: this.#owner,
      guardrails: options.guardrails,
      offerGuardrails: isLocal
        ? (guardrails) => addParts(code, { ...partsOfAgents([], []), guardrails })
        : undefined,
    });
    this.deadLetters = new DeadLetters(connection, {
      ...{ settings, owner: this.#owner, needsPrices: this.#hasCostLimit, batches: this.batches },
    });
    const { conversation: memory = false } = options;
    if (memory !== false) this.#memory = this.conversation(memory === true ? {} : { id: memory });
  }

  /**
   * Returns a client that remembers: its calls are one conversation and wait for each other. It has a conversation of
   * its own, or goes on with the one that the option `conversation` names.
   * @throws as the constructor does
   */
  static chat(options: GlueLLMOptions = {}): GlueLLM {
    return new GlueLLM({ ...options, conversation: options.conversation ?? true });
  }

  override toInput(message: CompletionMessage, options: EnqueueOptions): CompletionInput {
    const { conversation: id } = options;
    if (this.#memory && id === undefined) return this.#memory.toInput(message, options);
    const ref = id === undefined ? undefined : conversationRef(id, { tenant: this.#owner.tenant });
    return this.#toInput(message, options, ref);
  }

  /**
   * Returns a conversation, new or gone on with; Redis is asked by its first call.
   * @throws InputError when the id is none.
   */
  conversation(options: ConversationOptions = {}): Conversation {
    const toInput = (message: CompletionMessage, own: EnqueueOptions, ref: ConversationRef) =>
      this.#toInput(message, own, ref);
    return new Conversation(this.connection, toInput, options, this.#owner.tenant);
  }

  /** The conversation of this client's own calls; undefined without the option `conversation`. */
  get memory(): Conversation | undefined {
    return this.#memory;
  }

  /** Lets the client's calls go on in a new conversation. @throws InputError when the client has no memory. */
  resetConversation(): void {
    if (!this.#memory) {
      throw new InputError("this client has no memory", "make it with GlueLLM.chat()");
    }
    this.#memory.reset();
  }

  /**
   * Returns the handle of a job that was enqueued here or elsewhere; a workflow's call too (`RunStep.job`).
   * @param schema parses the structured answer here; without it `output` is as the worker checked it
   * @throws InputError when it is no job's id.
   */
  handle<S extends OutputSchema>(id: string, { schema }: { schema?: S } = {}): CompletionHandle<S> {
    if (/^job-[0-9a-f-]{36}$|^[\w.-]{1,1000}\.[0-9a-f]{16}$/.test(id))
      return new CompletionHandle(this.connection, { id }, { schema, tenant: this.#owner.tenant });
    throw new InputError("this is not the id of a job", "take `handle.id` as it is: job-…");
  }

  /**
   * Returns the calls of tools that wait for a person, those asked first in front. A client with a tenant sees its own.
   * @param limit how many at most; default 100
   */
  async approvals({ limit }: { limit?: number } = {}): Promise<ListedApproval[]> {
    const { tenant } = this.#owner;
    return await this.connection.useStore((store) => listApprovals(store, { tenant, limit }));
  }

  /**
   * Returns what failed, counted by the hour: groups with an example each, and what stands out in plain words. A client with a tenant
   * sees its own.
   * @param query default: the last hour, by code and model
   * @throws InputError for a wrong query
   */
  async errors(query: ErrorQuery = {}): Promise<ErrorReport> {
    const asked = checkWith(errorQuerySchema, query, "the query for errors", "is");
    const { tenant = asked.tenant } = this.#owner;
    return await this.connection.useStore((store) => readErrorReport(store, { ...asked, tenant }));
  }

  /**
   * Returns what the semantic cache of the namespace has done, or in shadow mode would have done, and what it saved. A client with a tenant
   * sees no examples, which are anybody's questions.
   */
  async cacheReport(): Promise<SemanticReport> {
    const report = await this.connection.useStore(readSemanticReport);
    return this.#owner.tenant === undefined ? report : { ...report, examples: [] };
  }

  /**
   * Samples each prompt several times, has every sample scored, and returns the sums; the results are files of the folder `output`. The
   * same call goes on with what is there: a finished sample is never paid for again.
   * @throws InputError naming what is wrong with options or rows, or `other_rollout` for a folder of another rollout; ConfigurationError;
   * the error of a call that concerns all others too, such as a key that is refused, after which the same call goes on
   */
  async rollout(options: RolloutOptions): Promise<RolloutReport> {
    const { runRollout } = await import("./rollouts.ts");
    const { workflows } = this;
    const { model, system } = this.#options;
    return runRollout(
      {
        ...{ workflows, model, system, settings: this.#settings, keyNeeded: this.#keyNeeded },
        offer: (functions, tools) => {
          if (!this.#isLocal) return;
          addStepFunctions(this.#functions, functions);
          addParts(this.#code, partsOfAgents([], tools));
        },
      },
      options,
    );
  }

  /**
   * Gives the samples of a finished rollout other scores, in this process and without paying, and writes its results anew. A judge keeps
   * the scores that it gave.
   * @throws InputError naming what is wrong, `rollout_unfinished`, `judge_not_recorded`
   */
  async rescore(options: RescoreOptions): Promise<RolloutReport> {
    const { rescoreRollout } = await import("./rollouts.ts");
    return rescoreRollout(options);
  }

  /**
   * Closes what the calls opened; calls in flight in this process get 30 s. Jobs that are not done stay in Redis and
   * go on with the next worker.
   */
  async close(): Promise<void> {
    await this.batches.close();
    await this.connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #toInput(
    message: CompletionMessage,
    options: EnqueueOptions,
    ref: ConversationRef | undefined,
  ): CompletionInput {
    const defaults = {
      ...this.#options,
      settings: this.#settings,
      keyNeeded: this.#keyNeeded,
      owner: this.#owner,
      hasCostLimit: this.#hasCostLimit,
      // The worker of this process runs them.
      ...(this.#isLocal && {
        offerParts: (parts: AgentParts) => addParts(this.#code, parts),
        offerSteps: (steps: Steps) => addSteps(this.#code.steps, steps),
      }),
    };
    return toCompletionInput(message, options, defaults, ref);
  }
}
