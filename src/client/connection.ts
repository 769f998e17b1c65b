import type { ModelNames } from "../calls/model-chain.ts";
import type { FleetWorker } from "../host/one-process.ts";
import { openRedis } from "../host/open-redis.ts";
import { CompletionProducer } from "../producers/completion-producer.ts";
import { ProducerQueues } from "../producers/queues.ts";
import { Scheduler } from "../schedules/scheduler.ts";
import type { AgentCode } from "../shared/agent.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { InputError } from "../shared/errors.ts";
import { outsideLogContext } from "../shared/log-context.ts";
import type { Logger } from "../shared/logger.ts";
import { isOfOneCall } from "../shared/one-call-steps.ts";
import { orAborted } from "../shared/or-aborted.ts";
import type { Settings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import { outsideTools } from "../shared/tool-run.ts";
import type { ProviderOptions } from "../shared/wire-options.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { outsideSpans } from "../telemetry/tracing.ts";
import type { AnyActivity } from "../workflows/activity.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { WorkflowRuns } from "../workflows/workflow-runs.ts";

/** Options of a client's connection. */
export interface ConnectionOptions {
  settings: Settings;
  logger: Logger;
  /** The process's connections, where it has them already: nothing is opened then, and this is not closed. */
  store?: ConnectedStore;
  /** Whether this process works too. */
  runsWorker: boolean;
  /** The queues of that worker; default all. */
  queueGlobs?: readonly string[];
  /** What the worker of this process can run, by name; it may grow. */
  code: AgentCode;
  /** The workflows that this worker runs. */
  workflows?: readonly AnyWorkflow[];
  /** The model of the workflows' calls that name none. */
  defaultModel?: ModelNames;
  /** What the workflows' calls say to their providers, beside their own words. */
  providerOptions?: ProviderOptions;
  /** The retrievers, evaluators, rewards and environments of the workflows, by reference; they may grow. */
  functions?: Map<string, StepFunction>;
  /** The activities that this worker does. */
  activities?: readonly AnyActivity[];
  /** The time without a call after which everything is closed until the next one; default never. */
  idleCloseMs?: number;
}

interface Opened {
  store: ConnectedStore;
  producer: CompletionProducer;
  runs: WorkflowRuns;
  scheduler: Scheduler;
  worker: FleetWorker | undefined;
  parts: CloseStack;
}

/** A client's connection to the fleet, opened by its first call: Redis, a producer and, in one process, a worker. */
export class Connection {
  readonly #options: ConnectionOptions;
  #opened: Promise<Opened> | undefined;
  #closing: Promise<void> = Promise.resolve();
  readonly #closed = new AbortController();
  #uses = 0;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /**
   * Does work with the producer, and returns what it brings. The signal is heard until the work begins, then by the work.
   * @throws InputError (`client_closed`) after `close`; ConfigurationError when there is no Redis to be had; the signal's
   * reason
   */
  async use<T>(work: (producer: CompletionProducer) => Promise<T>, signal?: AbortSignal): Promise<T> {
    using _use = this.hold();
    return await work((await this.#ready(signal)).producer);
  }

  /** Does work as `use`, with the workflow runs. */
  async useRuns<T>(work: (runs: WorkflowRuns) => Promise<T>, signal?: AbortSignal): Promise<T> {
    using _use = this.hold();
    const { runs, worker } = await this.#ready(signal);
    await orAborted(signal, worker?.runWorkflows() ?? Promise.resolve());
    return await work(runs);
  }

  /** Does work as `use`, with the schedules. */
  async useSchedules<T>(work: (scheduler: Scheduler) => Promise<T>): Promise<T> {
    using _use = this.hold();
    const { scheduler, worker } = await this.#ready();
    await worker?.runWorkflows();
    return await work(scheduler);
  }

  /** Does work as `use`, with Redis itself. */
  async useStore<T>(work: (store: ConnectedStore) => Promise<T>): Promise<T> {
    using _use = this.hold();
    return await work(await this.store());
  }

  /** Returns the store, for as long as somebody holds the connection. @throws as `use` */
  async store(signal?: AbortSignal): Promise<ConnectedStore> {
    return (await this.#ready(signal)).store;
  }

  /** Yields what the work yields, as `use` until the iteration has ended. */
  async *iterate<T>(
    work: (producer: CompletionProducer) => AsyncIterable<T>,
    signal?: AbortSignal,
  ): AsyncGenerator<T> {
    using _use = this.hold();
    yield* work((await this.#ready(signal)).producer);
  }

  /** Forgets functions that were given for one call, which has ended. */
  forgetSteps(name: string | undefined): void {
    if (name !== undefined && isOfOneCall(name)) this.#options.code.steps.delete(name);
  }

  /** Closes everything. Calls in flight in this process have 30 s to finish; what waits stays in Redis. */
  close(): Promise<void> {
    this.#closed.abort();
    clearTimeout(this.#idleTimer);
    return this.#disconnect();
  }

  /** Keeps what is open until it is disposed of, also without a call. @throws InputError (`client_closed`) */
  hold(): Disposable {
    this.#checkOpen();
    this.#uses += 1;
    clearTimeout(this.#idleTimer);
    return {
      [Symbol.dispose]: () => {
        this.#uses -= 1;
        if (this.#uses === 0) this.#closeWhenIdle();
      },
    };
  }

  async #ready(signal?: AbortSignal): Promise<Opened> {
    signal?.throwIfAborted();
    try {
      return await orAborted(signal, this.#open());
    } finally {
      this.#checkOpen();
    }
  }

  #checkOpen(): void {
    if (!this.#closed.signal.aborted) return;
    throw new InputError("this client was closed", "make a new one: new GlueLLM(…)", "client_closed");
  }

  #open(): Promise<Opened> {
    if (!this.#opened) {
      const opened = this.#closing
        .catch(() => {})
        .then(() => outsideCallers(() => open(this.#options, this.#closed.signal)));
      this.#opened = opened;
      // The next call tries again.
      opened.catch(() => {
        if (this.#opened === opened) this.#opened = undefined;
      });
    }
    return this.#opened;
  }

  #closeWhenIdle(): void {
    const { idleCloseMs, logger } = this.#options;
    if (idleCloseMs === undefined || this.#closed.signal.aborted) return;
    this.#idleTimer = setTimeout(() => {
      this.#disconnect().catch((error: Error) =>
        logger.warn({ err: error }, "closing the idle client failed"),
      );
    }, idleCloseMs);
  }

  #disconnect(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    if (opened) {
      // Who could not be opened need not be closed; its caller knows why.
      this.#closing = opened.then(
        ({ parts }) => parts[Symbol.asyncDispose](),
        () => {},
      );
    }
    return this.#closing;
  }
}

/** Connections and workers outlive the call that they were opened for. */
function outsideCallers<T>(work: () => T): T {
  return outsideTools(() => outsideLogContext(() => outsideSpans(work)));
}

async function open(options: ConnectionOptions, closed: AbortSignal): Promise<Opened> {
  const { settings, logger, runsWorker, queueGlobs, code, workflows, activities } = options;
  const { defaultModel, providerOptions } = options;
  await using parts = new CloseStack();
  const store = options.store ?? parts.use(await openRedis(settings, logger, closed)).store;
  const producer = new CompletionProducer({ store, settings });
  parts.defer(() => producer.close());
  const runs = new WorkflowRuns({ store, settings, logger, defaultModel, providerOptions });
  parts.defer(() => runs.close());
  const queues = new ProducerQueues(store, settings.maxQueues);
  parts.defer(() => queues.close());
  const scheduler = new Scheduler({ store, settings, logger, queues, producer });
  parts.defer(() => scheduler.close());
  let worker: FleetWorker | undefined;
  if (runsWorker) {
    const fleet = { store, settings, logger, queueGlobs };
    const { startWorker } = await import("../host/one-process.ts");
    const started = await startWorker({
      ...fleet,
      ...code,
      workflows,
      functions: options.functions,
      activities,
    });
    parts.defer(() => started.close());
    worker = started;
  }
  return { store, producer, runs, scheduler, worker, parts: parts.move() };
}
