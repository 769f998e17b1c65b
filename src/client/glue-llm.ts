import { checkRequest } from "../producers/completion-job.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { chooseModels, type ModelNames } from "../producers/model-chain.ts";
import { requirePrices } from "../producers/priced-models.ts";
import type { CacheOption } from "../shared/cache-option.ts";
import { InputError } from "../shared/errors.ts";
import { createLogger, type Logger } from "../shared/logger.ts";
import { loadSettings, type Settings, withSettings } from "../shared/settings.ts";
import { addTool, type Tool } from "../shared/tool.ts";
import { CompletionHandle } from "./completion-handle.ts";
import {
  type CompleteOptions,
  type CompletionMessage,
  checkOptions,
  type EnqueueOptions,
  toChatRequest,
  toOutput,
  toToolDefinitions,
  toToolNames,
} from "./completion-options.ts";
import { type CompletionEvent, type CompletionResult, toResult } from "./completion-result.ts";
import { Connection } from "./connection.ts";
import type { OutputOf, OutputSchema } from "./output-schema.ts";

export interface GlueLLMOptions {
  /** `provider:model`, or several of them in the order to try them in; default: the setting DEFAULT_MODEL. */
  model?: ModelNames;
  /** System prompt of the calls that have none. */
  system?: string;
  /**
   * `local`: this process works too, so that nothing else need run. `fleet`: it only enqueues, and the provider's keys
   * are needed by the workers alone. Default: `fleet` when a Redis is configured, else `local`. Without a configured
   * Redis both use the embedded one of the data folder.
   */
  mode?: "local" | "fleet";
  /** What the model may call in every call that names no tools itself. */
  tools?: readonly Tool[];
  /** Of the calls that have none of their own; default 10. */
  maxToolIterations?: number;
  /** Of the calls that have none of their own (see `EnqueueOptions`). */
  cache?: CacheOption;
  /** Replaces single settings of the environment and `.env`. */
  settings?: Partial<Settings>;
  /** Default: one of level LOG_LEVEL, else `error`, on standard error. */
  logger?: Logger;
  /** The queues that mode `local` works on, such as `completions.openai.*`; default all. */
  queueGlobs?: readonly string[];
  /** After so long without a call everything is closed until the next one; default never. */
  idleCloseMs?: number;
}

/**
 * Completions through durable jobs: a call waits its turn within the account's limits, survives crashes, and an answer
 * is never paid for twice. Redis and, in mode `local`, a worker are opened by the first call.
 *
 * ```ts
 * await using glue = new GlueLLM({ model: "openai:gpt-4o-mini" });
 * const { finalResponse } = await glue.complete("Name a prime number above 100.");
 * ```
 */
export class GlueLLM implements AsyncDisposable {
  readonly #options: GlueLLMOptions;
  readonly #settings: Settings;
  readonly #isLocal: boolean;
  readonly #tools = new Map<string, Tool>();
  readonly #connection: Connection;

  /** @throws ConfigurationError listing every setting that is wrong; InputError (`duplicate_tool`). */
  constructor(options: GlueLLMOptions = {}) {
    const settings = withSettings(loadSettings(), options.settings ?? {});
    const { queueGlobs, idleCloseMs } = options;
    const logger = options.logger ?? createLogger({ ...settings.log, level: settings.log.level ?? "error" });
    this.#options = options;
    this.#settings = settings;
    this.#isLocal = (options.mode ?? (settings.redisUrl ? "fleet" : "local")) === "local";
    this.#connection = new Connection({
      settings,
      logger,
      queueGlobs,
      idleCloseMs,
      runsWorker: this.#isLocal,
      tools: this.#tools,
    });
    for (const tool of options.tools ?? []) addTool(this.#tools, tool);
  }

  /**
   * Enqueues a call and waits for its result.
   * @throws as `enqueue`, and as `result` of a handle.
   */
  async complete<S extends OutputSchema>(
    message: CompletionMessage,
    { signal, ...options }: CompleteOptions<S> = {},
  ): Promise<CompletionResult<OutputOf<S>>> {
    const input = this.#toInput(message, options);
    const record = await this.#connection.use((producer) => producer.complete(input, signal));
    return toResult(record, options.schema);
  }

  /**
   * Enqueues a call and waits for its structured answer alone, of the schema's type; `complete` with a `schema` tells
   * tokens and cost too.
   * @throws as `complete` does; StructuredOutputError when no answer fitted, the rounds of repair included.
   */
  async structuredComplete<S extends OutputSchema>(
    message: CompletionMessage,
    options: CompleteOptions<S> & { schema: S },
  ): Promise<OutputOf<S>> {
    return (await this.complete(message, options)).output;
  }

  /**
   * Resolves once the job is safe in Redis.
   * @throws InputError for what cannot be asked (`empty_prompt`, `unknown_provider`, `idempotency_conflict`, a text
   * over 4 MiB …); ConfigurationError for an unknown model, a missing key (`missing_key`) or
   * price (`unpriced_model`), or no Redis.
   */
  async enqueue<S extends OutputSchema>(
    message: CompletionMessage,
    options: EnqueueOptions<S> = {},
  ): Promise<CompletionHandle<S>> {
    const input = this.#toInput(message, options);
    const job = await this.#connection.use((producer) => producer.enqueue(input));
    return new CompletionHandle(this.#connection, job, options.schema);
  }

  /**
   * Enqueues a call with the first step of the loop, and yields the pieces of its answer as they come, and last the
   * result. Leaving the loop early, or an abort, cancels the job unless it has an idempotency key.
   * @throws as `complete`; what can be known to be wrong at once.
   */
  stream<S extends OutputSchema>(
    message: CompletionMessage,
    { signal, ...options }: CompleteOptions<S> = {},
  ): AsyncGenerator<CompletionEvent<OutputOf<S>>, void, undefined> {
    return this.#stream(this.#toInput(message, { ...options, stream: true }), options.schema, signal);
  }

  async *#stream<S extends OutputSchema>(
    input: CompletionInput,
    schema: S | undefined,
    signal: AbortSignal | undefined,
  ) {
    signal?.throwIfAborted();
    const job = await this.#connection.use((producer) => producer.enqueue(input));
    const handle = new CompletionHandle(this.#connection, job, schema);
    let isWanted = false;
    try {
      yield* handle.stream({ signal });
      isWanted = true;
    } catch (error) {
      isWanted = !signal?.aborted;
      throw error;
    } finally {
      if (!isWanted && input.idempotencyKey === undefined) await handle.cancel();
    }
  }

  /**
   * The handle of a job that was enqueued here or elsewhere.
   * @param schema what its structured answer is parsed with here; without it `output` is as the worker checked it
   * @throws InputError when it is no job's id.
   */
  handle<S extends OutputSchema>(id: string, { schema }: { schema?: S } = {}): CompletionHandle<S> {
    if (/^job-[0-9a-f-]{36}$/.test(id)) return new CompletionHandle(this.#connection, { id }, schema);
    throw new InputError("this is not the id of a job", "take `handle.id` as it is: job-…");
  }

  /**
   * Closes what the calls opened; calls in flight in this process get 30 s. Jobs that are not done stay in Redis and
   * go on with the next worker.
   */
  close(): Promise<void> {
    return this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Everything that can be known to be wrong is said here, before Redis is asked. */
  #toInput(message: CompletionMessage, options: EnqueueOptions): CompletionInput {
    const checked = checkOptions(options);
    const { tools: given = this.#options.tools ?? [], executeTools = true } = checked;
    const request = checkRequest({
      ...toChatRequest(message, checked, this.#options.system),
      ...(!executeTools && { tools: toToolDefinitions(given) }),
    });
    const models = chooseModels(checked.model, {
      settings: this.#settings,
      defaultModels: this.#options.model ?? this.#settings.defaultModel,
      keyNeeded: this.#isLocal,
    });
    const { priority, delayMs, deadlineMs, maxAttempts, maxCostUsd, idempotencyKey, stream } = checked;
    if (maxCostUsd !== undefined)
      requirePrices(this.#settings, [models.model, ...(models.fallbacks ?? [])], "maxCostUsd");
    const tools = executeTools ? toToolNames(given) : [];
    // The worker of this process runs them.
    for (const tool of given) if (typeof tool !== "string") addTool(this.#tools, tool);
    const { maxToolIterations = this.#options.maxToolIterations, cache = this.#options.cache } = checked;
    const runOptions = tools.length > 0 ? { tools, maxToolIterations } : {};
    const output = toOutput(checked);
    return {
      ...models,
      request,
      ...runOptions,
      output,
      priority,
      delayMs,
      deadlineMs,
      maxAttempts,
      maxCostUsd,
      idempotencyKey,
      stream,
      cache,
    };
  }
}
