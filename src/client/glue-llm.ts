import { z } from "zod";
import { toCompletionInput } from "../calls/completion-input.ts";
import type { CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import type { ModelNames } from "../calls/model-chain.ts";
import { sharedOptions, toolsOption } from "../calls/option-schemas.ts";
import type { OutputSchema } from "../calls/output-schema.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import {
  type ErrorQuery,
  type ErrorReport,
  errorQuerySchema,
  readErrorReport,
} from "../producers/error-report.ts";
import type { CacheOption } from "../shared/cache-option.ts";
import { InputError } from "../shared/errors.ts";
import { isObject } from "../shared/json.ts";
import type { Logger } from "../shared/logger.ts";
import { checkWith } from "../shared/schema-check.ts";
import { loadSettings, type Settings, withSettings } from "../shared/settings.ts";
import { isStepFunction, type StepFunction } from "../shared/step-function.ts";
import { addSteps, type Steps } from "../shared/steps.ts";
import type { SystemPrompt } from "../shared/system-prompt.ts";
import { type Owner, tenantSchema } from "../shared/tenant.ts";
import { addTools, type Tool, toolsByName } from "../shared/tool.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import type { ConversationRef } from "../store/conversation.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { type AnyActivity, isActivity } from "../workflows/activity.ts";
import { type AnyWorkflow, isWorkflow } from "../workflows/workflow.ts";
import { Batches } from "./batches.ts";
import { Caller } from "./caller.ts";
import { CompletionHandle } from "./completion-handle.ts";
import { Connection } from "./connection.ts";
import { Conversation, type ConversationOptions, conversationRef } from "./conversation.ts";
import { DeadLetters } from "./dead-letters.ts";
import { Schedules } from "./schedules.ts";
import { checkKeys } from "./workflow-keys.ts";
import { Workflows } from "./workflows.ts";

/** Options of a client. */
export interface GlueLLMOptions {
  /** The model as `provider:model`, or several in the order to try them in; default: the setting DEFAULT_MODEL. */
  model?: ModelNames;
  /** The system prompt of the calls that have none; default: the setting DEFAULT_SYSTEM_PROMPT, else none. */
  system?: string | SystemPrompt;
  /**
   * The client's memory: its calls go through one conversation, a new one (`true`) or that of the id, and wait for each
   * other. Default: each call stands alone; `conversation()` gives memory to those that need it.
   */
  conversation?: boolean | string;
  /**
   * Who works. `local`: this process works too, so that nothing else need run. `fleet`: it only enqueues, and the
   * provider's keys are needed by the workers alone. Default: `fleet` when a Redis is configured, else `local`. Without
   * a configured Redis both use the embedded one of the data folder.
   */
  mode?: "local" | "fleet";
  /** The tools that the model may call in every call that names none itself; default: none. */
  tools?: readonly Tool[];
  /** The most answers with tool calls, 1 to 1,000, of the calls that say nothing of it; default: the setting MAX_TOOL_ITERATIONS, else 10. */
  maxToolIterations?: number;
  /** The use of the cache by calls that say nothing of it (see `EnqueueOptions`). */
  cache?: CacheOption;
  /** Provider options of the calls, to which a call's own are added (see `EnqueueOptions`); default: none. */
  providerOptions?: ProviderOptions;
  /**
   * The tenant in whose name it works: its jobs, runs, batches and conversations belong to it, and those of others are as if
   * they were not there. 1 to 64 letters, digits, `-`, `_` and `.`. Default: what it makes belongs to `default`, and it
   * opens those of all tenants.
   */
  tenant?: string;
  /** Settings that replace those of the environment and `.env`; default: none. */
  settings?: Partial<Settings>;
  /** The logger; default: one of level LOG_LEVEL, else `error`, on standard error. */
  logger?: Logger;
  /** The queues that mode `local` works on, such as `completions.openai.*`; default all. */
  queueGlobs?: readonly string[];
  /** The workflows that this client may start by name, and that mode `local` runs; the patterns are always there. */
  workflows?: readonly AnyWorkflow[];
  /** The retrievers and evaluators that the workflows of mode `local` may call; default: none. */
  functions?: readonly StepFunction[];
  /** The activities that mode `local` does; default: none. */
  activities?: readonly AnyActivity[];
  /** The milliseconds without a call after which everything is closed until the next one; default never. */
  idleCloseMs?: number;
}

/** @internal The connection that a process's clients share. */
export interface SharedConnection {
  connection: Connection;
  /** Whether the providers' keys are needed here, since this process works too. */
  keyNeeded: boolean;
  /** The key of the API in whose name it works, and whether that has a cost limit. */
  by?: string | undefined;
  hasCostLimit?: boolean;
}

const optionsSchema: z.ZodType<GlueLLMOptions> = z.strictObject({
  model: sharedOptions.model,
  system: sharedOptions.system,
  conversation: z.union([z.boolean(), z.string()]).optional(),
  mode: z.enum(["local", "fleet"]).optional(),
  tools: toolsOption,
  maxToolIterations: sharedOptions.maxToolIterations,
  cache: sharedOptions.cache,
  providerOptions: sharedOptions.providerOptions,
  tenant: tenantSchema.optional(),
  settings: z.custom<Partial<Settings>>(isObject, "must be an object").optional(),
  logger: z.custom<Logger>(isObject, "must be a logger").optional(),
  queueGlobs: z.array(z.string()).optional(),
  workflows: z.array(z.custom<AnyWorkflow>(isWorkflow, "must be what defineWorkflow returns")).optional(),
  functions: z
    .array(z.custom<StepFunction>(isStepFunction, "must be what defineRetriever or defineEvaluator returns"))
    .optional(),
  activities: z.array(z.custom<AnyActivity>(isActivity, "must be what defineActivity returns")).optional(),
  idleCloseMs: z.number().min(0).optional(),
});

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
  readonly #tools: Map<string, Tool>;
  readonly #steps: Map<string, Steps>;
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
    const options = checkWith(optionsSchema, given, "the client's options", "are");
    const settings = withSettings(loadSettings(), options.settings ?? {});
    const { queueGlobs, idleCloseMs } = options;
    const logger = options.logger ?? loggerOf(settings, "error");
    const isLocal = (options.mode ?? (settings.redisUrl ? "fleet" : "local")) === "local";
    const tools = toolsByName(options.tools ?? []);
    const steps = new Map<string, Steps>();
    const connection =
      shared?.connection ??
      new Connection({
        settings,
        logger,
        queueGlobs,
        idleCloseMs,
        runsWorker: isLocal,
        tools,
        steps,
        workflows: options.workflows,
        functions: options.functions,
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
    this.#tools = tools;
    this.#steps = steps;
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
    });
    this.deadLetters = new DeadLetters(connection, settings, this.#owner);
    const { conversation: memory = false } = options;
    if (memory !== false) this.#memory = this.conversation(memory === true ? {} : { id: memory });
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
      throw new InputError("this client has no memory", "make it with new GlueLLM({ conversation: true })");
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
        offerTools: (tools: readonly Tool[]) => addTools(this.#tools, tools),
        offerSteps: (steps: Steps) => addSteps(this.#steps, steps),
      }),
    };
    return toCompletionInput(message, options, defaults, ref);
  }
}
