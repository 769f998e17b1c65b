import { checkRequest } from "../producers/completion-job.ts";
import type { CompletionInput } from "../producers/completion-producer.ts";
import { chooseModel } from "../producers/model-choice.ts";
import { InputError } from "../shared/errors.ts";
import { createLogger, type Logger } from "../shared/logger.ts";
import { loadSettings, type Settings, withSettings } from "../shared/settings.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { CompletionHandle } from "./completion-handle.ts";
import {
  type CompleteOptions,
  type CompletionMessage,
  checkOptions,
  type EnqueueOptions,
  toChatRequest,
} from "./completion-options.ts";
import { type CompletionResult, toResult } from "./completion-result.ts";
import { Connection } from "./connection.ts";
import { Workflows } from "./workflows.ts";

export interface GlueLLMOptions {
  /** `provider:model`; default: the setting DEFAULT_MODEL. */
  model?: string;
  /** System prompt of the calls that have none. */
  system?: string;
  /**
   * `local`: this process works too, so that nothing else need run. `fleet`: it only enqueues, and the provider's keys
   * are needed by the workers alone. Default: `fleet` when a Redis is configured, else `local`. Without a configured
   * Redis both use the embedded one of the data folder.
   */
  mode?: "local" | "fleet";
  /** Replaces single settings of the environment and `.env`. */
  settings?: Partial<Settings>;
  /** Default: one of level LOG_LEVEL, else `error`, on standard error. */
  logger?: Logger;
  /** The queues that mode `local` works on, such as `completions.openai.*`; default all. */
  queueGlobs?: readonly string[];
  /** What this client may start by name, and what mode `local` runs. */
  workflows?: readonly AnyWorkflow[];
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
  readonly #connection: Connection;
  /** Durable workflows: start, open, fork, signal. */
  readonly workflows: Workflows;

  /** @throws ConfigurationError listing every setting that is wrong. */
  constructor(options: GlueLLMOptions = {}) {
    const settings = withSettings(loadSettings(), options.settings ?? {});
    const { queueGlobs, idleCloseMs, workflows } = options;
    const logger = options.logger ?? createLogger({ ...settings.log, level: settings.log.level ?? "error" });
    this.#options = options;
    this.#settings = settings;
    this.#isLocal = (options.mode ?? (settings.redisUrl ? "fleet" : "local")) === "local";
    this.#connection = new Connection({
      settings,
      logger,
      queueGlobs,
      idleCloseMs,
      workflows,
      defaultModel: options.model,
      runsWorker: this.#isLocal,
    });
    this.workflows = new Workflows(this.#connection, workflows);
  }

  /**
   * Enqueues a call and waits for its result.
   * @throws as `enqueue`, and as `result` of a handle.
   */
  async complete(
    message: CompletionMessage,
    { signal, ...options }: CompleteOptions = {},
  ): Promise<CompletionResult> {
    const input = this.#toInput(message, options);
    return toResult(await this.#connection.use((producer) => producer.complete(input, signal)));
  }

  /**
   * Resolves once the job is safe in Redis.
   * @throws InputError for what cannot be asked (`empty_prompt`, `unknown_provider`, `idempotency_conflict`, a text
   * over 4 MiB …); ConfigurationError for an unknown model, a missing key (`missing_key`) or no Redis.
   */
  async enqueue(message: CompletionMessage, options: EnqueueOptions = {}): Promise<CompletionHandle> {
    const input = this.#toInput(message, options);
    const job = await this.#connection.use((producer) => producer.enqueue(input));
    return new CompletionHandle(this.#connection, job);
  }

  /** The handle of a job that was enqueued here or elsewhere. @throws InputError when it is no job's id. */
  handle(id: string): CompletionHandle {
    if (/^job-[0-9a-f-]{36}$/.test(id)) return new CompletionHandle(this.#connection, { id });
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
    const request = checkRequest(toChatRequest(message, checked, this.#options.system));
    const model = chooseModel(checked.model, {
      settings: this.#settings,
      defaultModel: this.#options.model ?? this.#settings.defaultModel,
      keyNeeded: this.#isLocal,
    });
    const { priority, delayMs, deadlineMs, maxAttempts, idempotencyKey } = checked;
    return { model, request, priority, delayMs, deadlineMs, maxAttempts, idempotencyKey };
  }
}
