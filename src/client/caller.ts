import type { CompleteOptions, CompletionMessage, EnqueueOptions } from "../calls/completion-options.ts";
import { type CompletionEvent, type CompletionResult, toResult } from "../calls/completion-result.ts";
import type { OutputOf, OutputSchema } from "../calls/output-schema.ts";
import { type RequestConfig, unpack } from "../calls/request-config.ts";
import { ABANDON_MS, type CompletionInput, isWantedByNobodyElse } from "../producers/completion-producer.ts";
import { InputError } from "../shared/errors.ts";
import type { StepFunctions } from "../shared/steps.ts";
import { withToolSignal } from "../shared/tool-run.ts";
import { within } from "../shared/within.ts";
import { asCancelled, endedBy } from "./aborted.ts";
import { CompletionHandle } from "./completion-handle.ts";
import type { Connection } from "./connection.ts";

/** The ways to make a call, which a client and a conversation share. */
export abstract class Caller {
  protected readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** @internal Returns the job of a call. Everything that can be known to be wrong is said here, before Redis is asked. */
  abstract toInput(message: CompletionMessage, options: EnqueueOptions): CompletionInput;

  /**
   * Enqueues a call, waits for its result and returns it.
   * @throws as `enqueue`, and as `result` of a handle; JobCancelledError by the signal, whose reason is its cause.
   */
  async complete<S extends OutputSchema>(
    message: CompletionMessage | RequestConfig<S>,
    options: CompleteOptions<S> = {},
  ): Promise<CompletionResult<OutputOf<S>>> {
    const [asked, { signal: given, ...rest }] = unpack(message, options);
    const input = this.toInput(asked, rest);
    const signal = withToolSignal(given);
    try {
      const record = await endedBy(
        signal,
        this.connection.use((producer) => producer.complete(input, signal), signal),
      );
      return await toResult(record, rest.schema);
    } finally {
      this.connection.forgetSteps(input.steps);
    }
  }

  /**
   * Enqueues a call, waits for its structured answer and returns that alone, of the schema's type; `complete` with a
   * `schema` tells tokens and cost too.
   * @throws as `complete` does; StructuredOutputError when no answer fitted, the rounds of repair included.
   */
  async structuredComplete<S extends OutputSchema>(config: RequestConfig<S>): Promise<OutputOf<S>>;
  async structuredComplete<S extends OutputSchema>(
    message: CompletionMessage,
    options: CompleteOptions<S> & { schema: S },
  ): Promise<OutputOf<S>>;
  async structuredComplete<S extends OutputSchema>(
    message: CompletionMessage | RequestConfig<S>,
    options: CompleteOptions<S> = {},
  ): Promise<OutputOf<S>> {
    const [asked, all] = unpack(message, options);
    if (!all.schema) throw new InputError("the options are wrong at schema: a structured answer needs one");
    return (await this.complete(asked, all)).output;
  }

  /**
   * Enqueues a call, and returns its handle once the job is safe in Redis; the signal is heard until then.
   * @throws InputError for what cannot be asked (`empty_prompt`, `unknown_provider`, `idempotency_conflict`,
   * `unknown_conversation`, a text over 4 MiB …); ConfigurationError for an unknown model, a missing key
   * (`missing_key`) or price (`unpriced_model`), or no Redis; JobCancelledError by the signal.
   */
  async enqueue<S extends OutputSchema>(
    message: CompletionMessage | RequestConfig<S>,
    options: CompleteOptions<S> = {},
  ): Promise<CompletionHandle<S>> {
    const [asked, { signal, ...rest }] = unpack<S>(message, options);
    refuseFunctions(rest);
    const input = this.toInput(asked, rest);
    const job = await endedBy(
      signal,
      this.connection.use((producer) => producer.enqueue(input, signal), signal),
    );
    return new CompletionHandle(this.connection, job, rest);
  }

  /**
   * Enqueues a call with the first step of the loop, and yields the pieces of its answer as they come, and last the
   * result. Leaving the loop early, or an abort, cancels the job unless it has an idempotency key.
   * @throws as `complete`; what can be known to be wrong at once.
   */
  stream<S extends OutputSchema>(
    message: CompletionMessage | RequestConfig<S>,
    options: CompleteOptions<S> = {},
  ): AsyncGenerator<CompletionEvent<OutputOf<S>>, void, undefined> {
    const [asked, { signal, ...rest }] = unpack(message, options);
    return this.#stream(this.toInput(asked, { ...rest, stream: true }), rest, signal);
  }

  async *#stream<S extends OutputSchema>(
    input: CompletionInput,
    { schema, schemaName }: EnqueueOptions<S>,
    given: AbortSignal | undefined,
  ) {
    const signal = withToolSignal(given);
    const enqueued = this.connection.use((producer) => producer.enqueue(input, signal), signal);
    const job = await endedBy(signal, enqueued).catch((error) => {
      this.connection.forgetSteps(input.steps);
      throw error;
    });
    const handle = new CompletionHandle(this.connection, job, { schema, schemaName });
    let isWanted = false;
    try {
      yield* handle.stream({ signal });
      isWanted = true;
    } catch (error) {
      isWanted = !signal?.aborted;
      throw asCancelled(signal, error);
    } finally {
      this.connection.forgetSteps(input.steps);
      if (!isWanted && isWantedByNobodyElse(input)) await within(ABANDON_MS, handle.cancel());
    }
  }
}

/** The functions of one call are forgotten at its end, which a handle may see elsewhere. */
export function refuseFunctions({ stopWhen, prepareStep, onStep }: StepFunctions): void {
  const [first] = Object.entries({ stopWhen, prepareStep, onStep }).filter(([, given]) => given);
  if (!first) return;
  throw new InputError(
    `the options are wrong at ${first[0]}: an enqueued job may outlive this process`,
    "give its functions a name: defineSteps, and the option `steps`",
  );
}
