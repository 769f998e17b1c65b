import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { GlueLLMOptions } from "../client/client-options.ts";
import { GlueLLM } from "../client/glue-llm.ts";
import type { WaitOptions } from "../client/wait.ts";
import type { WorkflowHandle } from "../client/workflow-handle.ts";
import type { StartOptions } from "../client/workflows.ts";
import { openRedis } from "../host/open-redis.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { InputError } from "../shared/errors.ts";
import { createLogger } from "../shared/logger.ts";
import { Secret } from "../shared/secret.ts";
import { loadSettings, type Settings, withSettings } from "../shared/settings.ts";
import type { StepFunction } from "../shared/step-function.ts";
import type { Tool } from "../shared/tool.ts";
import { type Simulator, startSimulator } from "../simulator/simulator.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { AnyActivity } from "../workflows/activity.ts";
import type { Workflow } from "../workflows/context.ts";
import type { AnyWorkflow } from "../workflows/workflow.ts";
import { type ModelRequest, type ModelScripts, ScriptedModels } from "./model-scripts.ts";
import { TimeSkipper } from "./time-skipper.ts";

/** Options of a test environment. */
export interface TestEnvironmentOptions {
  /** The workflows under test; the built-in patterns are always there. */
  workflows?: readonly AnyWorkflow[];
  /** The activities that runs may ask for; default: none. */
  activities?: readonly AnyActivity[];
  /** The tools that models may call; default: none but those that calls name. */
  tools?: readonly Tool[];
  /** The retrievers and evaluators of the workflows; default: none. */
  functions?: readonly StepFunction[];
  /** What models answer. Default: every model answers something made up. */
  models?: ModelScripts;
  /** The model of calls that name none, as `provider:model`; default `simulator:test`. */
  model?: string;
  /** The address of a Redis that may be used; default: an embedded one that tests of this user share. */
  redisUrl?: string;
  /** Settings that replace those of a test environment; default: none. */
  settings?: Partial<Settings>;
  /** The logger of the engine; default: errors on standard error. */
  logger?: GlueLLMOptions["logger"];
}

/** Keys that are deleted at a time. */
const CHUNK = 1000;
const [MIN_WAIT_MS, MAX_WAIT_MS] = [5, 50];

/** A client that lets its test look at the Redis it uses. */
class TestClient extends GlueLLM {
  store(): Promise<ConnectedStore> {
    return this.connection.store();
  }
}

/**
 * The real engine for tests of workflows and tools: Redis, a worker in this process, models that answer by a script, and
 * a time that jumps. `createTestEnvironment` makes one.
 */
export class TestEnvironment implements AsyncDisposable {
  /** A client of the environment, which works too: its calls are answered by the scripts. */
  readonly client: GlueLLM;
  readonly #models: ScriptedModels;
  readonly #time: TimeSkipper;
  readonly #parts: CloseStack;

  /** As `createTestEnvironment` does. */
  constructor(client: GlueLLM, models: ScriptedModels, time: TimeSkipper, parts: CloseStack) {
    this.client = client;
    this.#models = models;
    this.#time = time;
    this.#parts = parts;
  }

  /** What models were asked so far, in this order; calls for vectors are not among it. */
  get requests(): readonly ModelRequest[] {
    return this.#models.requests;
  }

  /** Returns the time of the runs, in epoch milliseconds. */
  now(): number {
    return this.#time.now();
  }

  /**
   * Starts a run and returns its handle. The run goes on at once; its sleeps and timeouts pass while `result`, `run` or
   * `skipTime` is waited for.
   * @throws as the client's `workflows.start`
   */
  start<Input, Output, Given>(
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options?: StartOptions,
  ): Promise<WorkflowHandle<Output>> {
    return this.client.workflows.start(workflow, input, options);
  }

  /** Starts a run, skips what it waits for, and returns its output. @throws as `start` and `result` */
  async run<Input, Output, Given>(
    workflow: Workflow<Input, Output, Given>,
    input: Given,
    options: StartOptions & WaitOptions = {},
  ): Promise<Output> {
    const { timeoutMs, ...startOptions } = options;
    const { signal } = options;
    return this.result(await this.start(workflow, input, startOptions), { timeoutMs, signal });
  }

  /**
   * Waits for a run's output and returns it. Sleeps, timeouts and deadlines of all runs pass at once, in their order,
   * whenever no run has anything else to do.
   * @throws what a script of a model threw; the run's error; as the handle's `result`
   */
  async result<Output>(run: WorkflowHandle<Output>, options: WaitOptions = {}): Promise<Output> {
    const end = new AbortController();
    const skipping = this.#time.skipUntil(end.signal);
    try {
      return await run.result(options);
    } catch (error) {
      throw this.#models.fault ?? error;
    } finally {
      end.abort();
      await skipping;
    }
  }

  /**
   * Lets so many milliseconds pass for all runs: what is due by then ends, in its order, and what follows from it goes on
   * until it waits again.
   * @throws InputError for a time that is not at least 0
   */
  async skipTime(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new InputError(`the time to skip must be at least 0 ms, not ${ms}`);
    await this.#time.skip(ms);
  }

  /** Ends the worker and the models, and deletes what the environment has in Redis. */
  close(): Promise<void> {
    return this.#parts[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Makes a test environment: the real engine on a Redis of its own namespace, with a worker in this process. No provider is
 * called: every model, of whatever provider, answers by its script.
 *
 * ```ts
 * await using env = await createTestEnvironment({ workflows: [order], models: { "openai:gpt-4o-mini": ["yes"] } });
 * expect(await env.run(order, { id: 1 })).toBe("shipped");
 * ```
 * @throws ConfigurationError when there is no Redis to be had; InputError for scripts that are none
 */
export async function createTestEnvironment(options: TestEnvironmentOptions = {}): Promise<TestEnvironment> {
  const { workflows, activities, tools, functions, logger, models } = options;
  const scripted = new ScriptedModels(models ?? {});
  const parts = new CloseStack();
  try {
    const answer = models === undefined ? undefined : scripted.answer;
    const simulator = await startSimulator({ latencyMs: 0, jitterMs: 0, answer });
    parts.defer(() => simulator.close());
    const settings = testSettings(options, simulator);
    const host = parts.use(await openRedis(settings, createLogger({ ...settings.log, level: "error" })));
    parts.defer(() => deleteAll(host.store));
    const client = new TestClient({
      mode: "local",
      settings,
      workflows,
      activities,
      tools,
      functions,
      logger,
    });
    parts.defer(() => client.close());
    return new TestEnvironment(client, scripted, new TimeSkipper(await client.store()), parts);
  } catch (error) {
    await parts[Symbol.asyncDispose]();
    throw error;
  }
}

/** Those of the environment and `.env`, without anything that would lead to a fleet or to a provider. */
function testSettings(
  { model = "simulator:test", redisUrl, settings: changes }: TestEnvironmentOptions,
  { url }: Simulator,
): Settings {
  const settings = loadSettings({ ignoreBareRedisUrl: true });
  const providers = Object.values(settings.providers).map((entry) => {
    const baseUrl = entry.dialect === "anthropic" ? url : `${url}/v1`;
    const { name, dialect, keyVariable, models, custom, structuredOutput, api } = entry;
    const apiKey = new Secret("test");
    return [name, { name, dialect, keyVariable, models, custom, structuredOutput, api, baseUrl, apiKey }];
  });
  return withSettings(settings, {
    namespace: `test-${randomUUID()}`,
    redisUrl,
    dataDir: join(settings.system.cacheDir, "test-environments"),
    providers: Object.fromEntries(providers) as Settings["providers"],
    defaultModel: model,
    limits: {},
    learnLimits: false,
    retry: { ...settings.retry, minWaitMs: MIN_WAIT_MS, maxWaitMs: MAX_WAIT_MS },
    circuitBreaker: { ...settings.circuitBreaker, enabled: false },
    // Each call is to be answered by its script.
    cache: { ...settings.cache, enabled: false },
    ...changes,
  });
}

async function deleteAll({ redis, keys }: ConnectedStore): Promise<void> {
  for await (const found of redis.scanStream({ match: `${keys.prefix}*`, count: CHUNK })) {
    const names = found as string[];
    if (names.length > 0) await redis.unlink(...names);
  }
}
