import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { CircuitBreaker } from "../limits/circuit-breaker.ts";
import { FleetBudgets } from "../limits/fleet-budgets.ts";
import { ProcessLoad } from "../limits/process-load.ts";
import { RateLimiter } from "../limits/rate-limiter.ts";
import { createAdapter } from "../providers/create-adapter.ts";
import type { ProviderAdapter } from "../providers/provider.ts";
import { GlueError } from "../shared/errors.ts";
import { logFault } from "../shared/fault-log.ts";
import { matchesGlob } from "../shared/glob.ts";
import { modelRef } from "../shared/model-name.ts";
import { PROFILES } from "../shared/profiles.ts";
import { parseCompletionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import { CLOSE_MS, within } from "../shared/within.ts";
import { queuesWithJobs } from "../store/bullmq-internals.ts";
import { CacheStore } from "../store/cache.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import type { LoopOnDemand } from "../store/loop-on-demand.ts";
import { probeAnswerer } from "../store/probe.ts";
import { malformedQueueNames, type RegisteredQueue, readRegistry } from "../store/queue-registry.ts";
import {
  isTenantKey,
  KnownTenants,
  TENANTS_CHANGED,
  tenantBudget,
  tenantBudgetKey,
} from "../store/tenant.ts";
import { announceWorker, unreadableWorkerCards, withdrawWorker } from "../store/worker-card.ts";
import { OutcomeSums } from "../telemetry/outcome-sums.ts";
import { CallCosts } from "./call-costs.ts";
import type { WorkerContext } from "./context.ts";
import { openSemanticCache } from "./open-semantic-cache.ts";
import { ownCard } from "./own-card.ts";
import { processReadings } from "./process-readings.ts";
import { QueueWorker } from "./queue-worker.ts";
import { SlotlessPlaces } from "./slotless-places.ts";
import { ToolSets } from "./tool-sets.ts";
import type { WorkerOptions } from "./worker-options.ts";

const FOLLOW_MS = 1000;
const CARD_MS = 5000;
const WORK_MS = 1000;
const LIMITS_MS = 5000;
/** To one provider entry; each of its models has a queue with a concurrency of its own. */
const MIN_CONNECTIONS = 512;
/** A queue without jobs is let go after so long, and one whose jobs all sleep. */
const IDLE_MS = 60_000;
const ASLEEP_MS = 10 * 60_000;

/**
 * One process of the fleet: follows the queue registry and serves each queue that is in use with a job loop, which costs a
 * connection. One that had no jobs for a minute is let go until a producer registers it again, or it has jobs.
 */
export class WorkerProcess {
  readonly id = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  readonly #options: WorkerOptions;
  readonly #context: WorkerContext;
  readonly #store: ConnectedStore;
  readonly #adapters = new Map<string, ProviderAdapter>();
  readonly #queues = new Map<string, QueueWorker>();
  readonly #drain = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #probes: LoopOnDemand;
  #listening: Disposable | undefined;
  #told: Disposable | undefined;
  #following: Promise<void> | undefined;
  #announcedEnded = 0;
  #closing: Promise<void> | undefined;

  private constructor(options: WorkerOptions) {
    const { store, settings, logger } = options;
    this.#options = options;
    this.#store = store;
    this.#probes = probeAnswerer({ ...options, lockMs: settings.lockMs });
    const profile = PROFILES[settings.profile];
    const shared = { redis: store.redis, keyPrefix: store.keys.prefix, logger };
    const budgets = new FleetBudgets({
      store,
      settings,
      logger,
      onChange: (changed) => {
        for (const key of changed) this.#context.limiter.refresh(key);
      },
    });
    const tenants = new KnownTenants(store);
    const load = new ProcessLoad({ profile, logger });
    const { maxJobsInTools = profile.maxJobsInTools } = settings;
    this.#context = {
      store,
      settings,
      logger,
      draining: this.#drain.signal,
      clock: options.clock,
      answered: new Map(),
      laneNotices: new Set(),
      jobs: { active: 0, ended: 0 },
      budgets,
      limiter: new RateLimiter({
        ...shared,
        subscriber: store.notifier.connection,
        budgetOf: (key) => (isTenantKey(key) ? tenantBudget(tenants, key) : budgets.of(key)),
        quantumMs: profile.quantumMs,
      }),
      costs: new CallCosts({ store, settings, logger }),
      tenants,
      metrics: options.metrics,
      outcomes: new OutcomeSums(store),
      cache: settings.cache.enabled ? new CacheStore({ store, ...settings.cache }) : undefined,
      semantic:
        settings.cache.enabled && settings.cache.semantic
          ? openSemanticCache(store, settings.cache.semantic, settings.providers)
          : undefined,
      breaker: settings.circuitBreaker.enabled
        ? new CircuitBreaker({ ...shared, settings: settings.circuitBreaker })
        : undefined,
      load,
      tools: options.tools ?? new Map(),
      steps: options.steps ?? new Map(),
      toolSets: new ToolSets({ logger, dataDir: settings.dataDir, version: options.version ?? "0" }),
      agents: options.agents ?? new Map(),
      guardrails: options.guardrails ?? new Map(),
      startChild: options.startChild,
      toolPlaces: new SlotlessPlaces({
        ...{ store, load, most: maxJobsInTools },
        reason: "its tools: the worker has as many jobs in tools as it may",
      }),
      flexPlaces: new SlotlessPlaces({
        ...{ store, load, most: this.#maxConcurrency },
        reason: "its call in the tier flex: the worker has as many of them as it may",
      }),
      adapterOf: (entry) => this.#adapterOf(entry),
    };
    load.onMemory(() => {
      for (const queue of this.#queues.values()) queue.followMemory();
      void this.announce();
    });
  }

  get #maxConcurrency(): number {
    const { concurrency, settings } = this.#options;
    return concurrency ?? settings.workerConcurrency ?? PROFILES[settings.profile].maxConcurrency;
  }

  static async start(options: WorkerOptions): Promise<WorkerProcess> {
    const worker = new WorkerProcess(options);
    await worker.#start();
    return worker;
  }

  async #start(): Promise<void> {
    this.#listening = await this.#listen();
    this.#told = this.#options.metrics?.follow(() => processReadings(this.#context, this.#adapters));
    await Promise.all([this.#context.budgets.read(), this.#context.tenants.read()]);
    await Promise.all([this.#follow(), this.announce(), this.#tellDamage()]);
    this.#timers.push(setInterval(() => void this.#follow(), FOLLOW_MS));
    this.#timers.push(setInterval(() => void this.announce(), CARD_MS));
    this.#timers.push(setInterval(() => this.#announceWork(), WORK_MS));
    this.#timers.push(setInterval(() => this.#readLimits(), LIMITS_MS));
  }

  /** Names what is passed over because it cannot be read. */
  async #tellDamage(): Promise<void> {
    const { logger } = this.#options;
    for (const queue of await malformedQueueNames(this.#store)) {
      logger.warn({ queue }, "no queue can have this name; see `gluellm queues repair`");
    }
    for (const worker of await unreadableWorkerCards(this.#store)) {
      logger.warn({ worker }, "the card of a worker process cannot be read; see `gluellm queues repair`");
    }
  }

  #readLimits(id?: string): void {
    // While Redis is away, what is known stands.
    if (id !== TENANTS_CHANGED) this.#context.budgets.read(id).catch(() => {});
    if (id === undefined || id === TENANTS_CHANGED) void this.#readTenants();
  }

  async #readTenants(): Promise<void> {
    const { tenants, limiter } = this.#context;
    for (const tenant of await tenants.read()) limiter.refresh(tenantBudgetKey(tenant));
  }

  #listen(): Promise<Disposable> {
    const { breaker, cache, limiter } = this.#context;
    return this.#store.notifier.listen({
      queue: () => void this.#follow(),
      breaker: breaker && ((key) => void breaker.onMessage(key)),
      cache: cache && ((digest) => cache.onMessage(digest)),
      limits: (id) => this.#readLimits(id),
      pause: (message) => {
        const [ms = "", ...id] = message.split(":");
        limiter.pause(id.join(":"), Number(ms));
      },
      cancel: (jobId) => {
        for (const queue of this.#queues.values()) queue.abort(jobId, "cancelled");
      },
      stop: (batchId) => {
        for (const queue of this.#queues.values()) queue.abortBatch(batchId);
      },
    });
  }

  /** Brings the served queues in line with the registry; one run at a time. */
  #follow(): Promise<void> {
    this.#following ??= this.#followOnce()
      .catch((error: Error) =>
        logFault(this.#options.logger, error.message, {}, "cannot follow the queue registry"),
      )
      .finally(() => {
        this.#following = undefined;
      });
    return this.#following;
  }

  async #followOnce(): Promise<void> {
    if (this.#drain.signal.aborted) return;
    const registered = await readRegistry(this.#store);
    const closed = registered.filter(({ name }) => !this.#queues.has(name) && this.#serves(name));
    const isUsed = ({ registeredAt }: RegisteredQueue) => registeredAt > Date.now() - IDLE_MS;
    const quiet = closed.filter((queue) => !isUsed(queue)).map(({ name }) => name);
    for (const { name } of closed.filter(isUsed)) this.#open(name);
    for (const name of await queuesWithJobs(this.#store, quiet, { asleep: false })) this.#open(name);
    for (const [name, queue] of this.#queues) {
      if (queue.idleMs <= IDLE_MS) continue;
      const asleep = queue.idleMs <= ASLEEP_MS;
      if ((await queuesWithJobs(this.#store, [name], { asleep })).length > 0) continue;
      this.#queues.delete(name);
      await queue.close();
    }
  }

  /** A queue of an entry this process does not have would only be bounced: it is left to those who have it. */
  #serves(name: string): boolean {
    const { settings, queueGlobs = ["*"] } = this.#options;
    const ref = parseCompletionQueueName(name);
    const isKnown = ref ? ref.entry in settings.providers : name === ROUTE_QUEUE;
    return isKnown && queueGlobs.some((glob) => matchesGlob(glob, name));
  }

  #open(name: string): void {
    this.#queues.set(name, new QueueWorker(this.#context, name, this.#maxConcurrency));
    this.#options.logger.debug({ queue: name }, "serving queue");
  }

  #adapterOf(name: string): ProviderAdapter {
    const existing = this.#adapters.get(name);
    if (existing) return existing;
    const entry = this.#options.settings.providers[name];
    if (!entry) {
      throw new GlueError({ code: "internal", category: "internal", message: `no provider entry ${name}` });
    }
    const adapter = createAdapter(entry, {
      connections: Math.max(MIN_CONNECTIONS, 2 * this.#maxConcurrency),
      proxyVariables: this.#options.settings.system.proxyVariables,
      onHeaders: ({ model, ...seen }) => this.#context.budgets.observe(modelRef(name, model).key, seen),
    });
    this.#adapters.set(name, adapter);
    return adapter;
  }

  /** Says what this process can run, for `gluellm queues` and for operators; it does so every few seconds too. */
  async announce(): Promise<void> {
    const card = ownCard(this.#context, this.#options, [...this.#queues.keys()]);
    this.#announcedEnded = card.jobs?.ended ?? 0;
    await announceWorker(this.#store, this.id, card).catch(() => {});
  }

  /** One who watches sees the work go on; a process without work costs Redis nothing more. */
  #announceWork(): void {
    if (this.#context.jobs.ended !== this.#announcedEnded) void this.announce();
  }

  /**
   * Drains: takes no new job, sends back those that wait for their budget, lets calls in flight finish for
   * `drainMs` (default 30 s), then aborts them and sends them back too.
   */
  close({ drainMs = 30_000 }: { drainMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#drain.abort("draining");
    for (const queue of this.#queues.values()) queue.drain();
    await Promise.all([this.#probes.close(), within(CLOSE_MS, this.#following ?? Promise.resolve())]);
    await Promise.all([...this.#queues.values()].map((queue) => queue.close(drainMs)));
    await this.#context.toolSets.close();
    await Promise.all([this.#context.limiter.close(), this.#context.breaker?.[Symbol.asyncDispose]()]);
    await this.#context.outcomes.close();
    this.#told?.[Symbol.dispose]();
    this.#context.load[Symbol.dispose]();
    await Promise.all([...this.#adapters.values()].map((adapter) => adapter.close()));
    if (this.#store.redis.status === "ready") await within(CLOSE_MS, withdrawWorker(this.#store, this.id));
    this.#listening?.[Symbol.dispose]();
  }
}
