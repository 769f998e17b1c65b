import type { Queue } from "bullmq";
import { budgetId, configuredBudget, limitsOf } from "../shared/budget.ts";
import {
  activityOfQueue,
  hasRuns,
  isOfEveryWorker,
  isOfWorkflows,
  workflowOfQueue,
} from "../shared/catalog.ts";
import { counted } from "../shared/counted.ts";
import { matchesGlob } from "../shared/glob.ts";
import { parseCompletionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { type BreakerState, readBreakerState } from "../store/breaker.ts";
import { NEVER_LIMITING } from "../store/bullmq-internals.ts";
import { readLearnedLimits } from "../store/learned-limits.ts";
import { type LongPause, pauseIdsOf, readLongPause } from "../store/long-pause.ts";
import { registeredQueues } from "../store/queue-registry.ts";
import { waitingForPlaces } from "../store/run-limits.ts";
import type { Store } from "../store/store.ts";
import { type Usage, usagePerMinute } from "../store/usage.ts";
import { withQueue } from "../store/with-queue.ts";
import { readWorkerCards, type WorkerCard } from "../store/worker-card.ts";

export interface QueueState {
  queue: string;
  /** `entry:model`; the queue's name where its jobs have several models. */
  key: string;
  counts: { waiting: number; active: number; delayed: number; completed: number; failed: number };
  /** Per minute; absent: none is known. */
  limits: ReturnType<typeof limitsOf>;
  /** What several queues share one budget by. */
  bucket: string | undefined;
  breaker: BreakerState;
  /** Of the last minute; of all queues that share its bucket; where jobs have several models, of those that succeeded. */
  used: Usage;
  /** Milliseconds until a provider's pause ends, or a long one is tested; 0 when there is none. */
  pausedMs: number;
  /** A provider's pause of more than five minutes; undefined when there is none. */
  longPause: LongPause | undefined;
  pausedByOperator: boolean;
  /** Worker processes that can run its jobs. */
  workers: number;
  /** Reasons, for people; empty when jobs flow. */
  waitsFor: string[];
}

/** How many delayed jobs are asked why they wait. */
const REASON_SAMPLE = 20;

/**
 * The state of every registered queue, or of those named.
 * @param sinceMs what is used is of the time since then, and of the last minute at most; epoch milliseconds
 */
export async function readQueueStates(
  store: Store,
  settings: Settings,
  queues?: readonly string[],
  sinceMs = 0,
): Promise<QueueState[]> {
  const [cards, learned] = await Promise.all([readWorkerCards(store), readLearnedLimits(store)]);
  const names = queues ?? (await registeredQueues(store));
  const view = { store, settings, cards, learned, sinceMs };
  const states = await Promise.all(names.map((name) => readQueueState(view, name)));
  return queues ? states : states.map((state) => ({ ...state, used: usedOfBudget(state, states) }));
}

/** Queues that share a bucket use one budget. */
function usedOfBudget({ bucket, used }: QueueState, states: readonly QueueState[]): Usage {
  if (!bucket) return used;
  const sharing = states.filter((state) => state.bucket === bucket);
  const sum = (counter: keyof Usage) => sharing.reduce((total, state) => total + state.used[counter], 0);
  return {
    requests: sum("requests"),
    tokens: sum("tokens"),
    outputTokens: sum("outputTokens"),
    rateLimited: sum("rateLimited"),
  };
}

interface FleetView {
  store: Store;
  settings: Settings;
  cards: readonly WorkerCard[];
  learned: Awaited<ReturnType<typeof readLearnedLimits>>;
  sinceMs: number;
}

async function readQueueState(
  { store, settings, cards, learned, sinceMs }: FleetView,
  name: string,
): Promise<QueueState> {
  const ref = parseCompletionQueueName(name);
  const key = ref?.key ?? name;
  return withQueue(store, name, async (queue) => {
    const found = await queue.getJobCounts(
      "waiting",
      "prioritized",
      "active",
      "delayed",
      "completed",
      "failed",
    );
    const counts = {
      waiting: (found.waiting ?? 0) + (found.prioritized ?? 0),
      active: found.active ?? 0,
      delayed: found.delayed ?? 0,
      completed: found.completed ?? 0,
      failed: found.failed ?? 0,
    };
    const pausedMs = Math.max(0, await queue.getRateLimitTtl(NEVER_LIMITING.max));
    const pausedByOperator = await queue.isPaused();
    const isServing = (card: WorkerCard) =>
      isOfWorkflows(name) ? canRun(card, name) : canServe(card, name, ref?.entry);
    const serving = cards.filter(isServing);
    const workers = serving.length;
    const short = serving.filter((card) => card.isMemoryLow).length;
    const breaker = await readBreakerState(store, key);
    const longPause = ref && (await readLongPause(store, pauseIdsOf(budgetId(settings.limits, key), key)));
    const waitsFor = [];
    if (pausedByOperator) waitsFor.push("an operator's resume");
    if (breaker.state !== "closed") {
      waitsFor.push(`its circuit breaker: the provider failed ${breaker.failures} of ${breaker.calls} calls`);
    } else if (longPause) waitsFor.push(longPauseText(key, longPause));
    else if (pausedMs > 0) waitsFor.push(`the provider's pause, ${Math.ceil(pausedMs / 1000)} s more`);
    if (short > 0) waitsFor.push(`memory on ${short} of ${workers} workers`);
    if (workers === 0 && counts.waiting + counts.delayed > 0) {
      const other = isOfWorkflows(name) ? `a worker with ${whatItHas(name)}` : "a worker";
      waitsFor.push(ref ? `a worker with provider entry "${ref.entry}"` : other);
    }
    const workflow = workflowOfQueue(name);
    const line = workflow === undefined ? undefined : await waitingForPlaces(store, workflow);
    if (line && line.runs > 0) waitsFor.push(placesText(line));
    if (counts.delayed > 0) waitsFor.push(...(await readReasons(queue)));
    const used = await usagePerMinute(store, key, sinceMs);
    return {
      queue: name,
      key,
      counts,
      limits: ref ? limitsOf(settings.limits, learned, key) : {},
      bucket: ref && configuredBudget(settings.limits, key)?.bucket,
      used,
      breaker,
      pausedMs,
      longPause,
      pausedByOperator,
      workers,
      waitsFor,
    };
  });
}

function placesText({ runs, keys }: { runs: number; keys: number }): string {
  return `places: ${counted(runs, "run")} of ${counted(keys, "limit")} of concurrency`;
}

/** Of a queue of workflows: what its jobs are of. */
function whatItHas(queue: string): string {
  const activity = activityOfQueue(queue);
  if (activity !== undefined) return `activity "${activity}"`;
  const workflow = workflowOfQueue(queue);
  return workflow === undefined ? "workflows" : `workflow "${workflow}"`;
}

function canRun({ workflows, activities }: WorkerCard, queue: string): boolean {
  const activity = activityOfQueue(queue);
  if (activity !== undefined) return activities.includes(activity);
  const workflow = workflowOfQueue(queue);
  return workflow === undefined ? workflows.length > 0 : workflows.includes(workflow);
}

/** Until when, why, and what can be done about it. */
function longPauseText(key: string, { until, reason }: LongPause): string {
  return `the provider's pause until ${new Date(until).toISOString()} (${reason}); one call per minute tests it, gluellm queues resume ${key} lifts it`;
}

function canServe(card: WorkerCard, queue: string, entry: string | undefined): boolean {
  if (isOfEveryWorker(queue)) return true;
  const canCall = entry === undefined ? queue === ROUTE_QUEUE : entry in card.entries;
  return canCall && card.queueGlobs.some((glob) => matchesGlob(glob, queue));
}

/** What workers wrote on the jobs they put back. */
async function readReasons(queue: Queue): Promise<string[]> {
  // One that cannot be read keeps the others from being read: its worker will set it aside.
  const jobs = await queue.getDelayed(0, REASON_SAMPLE - 1).catch(() => []);
  const reasons = jobs.map((job) => (job?.progress as { waitsFor?: string } | undefined)?.waitsFor);
  // A run that sleeps and a schedule's next tick are delayed too, and wait for nothing but their time.
  const shown =
    hasRuns(queue.name) || isOfEveryWorker(queue.name)
      ? reasons.filter((reason) => reason !== undefined)
      : reasons;
  return [...new Set(shown.map((reason) => reason ?? "its next attempt"))];
}
