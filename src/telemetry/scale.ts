import { MAX_ACTIVITIES_AT_WORK } from "../shared/activity-payload.ts";
import { budgetId, limitsOf, type StatedLimits } from "../shared/budget.ts";
import { activityOfQueue, MAX_RUNS_AT_WORK } from "../shared/catalog.ts";
import { matchesGlob } from "../shared/glob.ts";
import { PROFILES } from "../shared/profiles.ts";
import { parseCompletionQueueName, ROUTE_QUEUE } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { type QueueFigures, readFleetFigures } from "../store/fleet-figures.ts";
import { readCallTimes } from "../store/fleet-outcomes.ts";
import { readLearnedLimits } from "../store/learned-limits.ts";
import type { Store } from "../store/store.ts";

/** What an autoscaler is told of some queues. */
export interface ScaleSignal {
  /** Jobs that wait and might run now, or within half a minute. */
  backlog: number;
  /** How long they would take one after the other. */
  backlogSeconds: number;
  active: number;
  /** Age of the oldest that waits. */
  oldestSeconds: number;
  /** Worker processes that would do the backlog in the target time, and no more than the providers' limits can feed. */
  wantedWorkers: number;
  /** More workers would bring nothing: the limits of the accounts, a pause or an open breaker keep the jobs waiting. */
  limitBound: boolean;
}

export interface ScaleOptions {
  /** `*` stands for any run of characters; default: all queues. */
  queues?: readonly string[] | undefined;
  /** The time in which the backlog is to be done; default 30. */
  targetSeconds?: number | undefined;
  /** Calls at a time of each queue in a worker process; default: as the settings say. */
  concurrency?: number | undefined;
}

export const TARGET_SECONDS = 30;
/** Of calls of which nothing is known yet. */
const USUAL_CALL_SECONDS = 5;
/** A run's turn, or a schedule's tick. */
const TURN_SECONDS = 0.05;
/** What a job takes of a process's processor, however short its call: it does one at a time of that. */
const PROCESSOR_SECONDS = 0.002;

/** A shorter pause is over when a worker that is started for it is there. */
const LONG_PAUSE_MS = 30_000;

/** Work of one queue. */
interface Work {
  figures: QueueFigures;
  budget: string;
  backlog: number;
  seconds: number;
  /** Jobs at a time in a process. */
  places: number;
  /** What the limits let through. */
  callsPerSecond: number;
}

/** Reads what the workers of some queues have to do. */
export async function readScale(
  store: Store,
  settings: Settings,
  { queues = ["*"], ...options }: ScaleOptions = {},
): Promise<ScaleSignal> {
  const [figures, learned] = await Promise.all([
    readFleetFigures(store, { queues: (name) => queues.some((glob) => matchesGlob(glob, name)) }),
    readLearnedLimits(store),
  ]);
  return scaleOfQueues(store, settings, figures?.queues ?? [], learned, options);
}

/** The same of figures that were read already. */
export async function scaleOfQueues(
  store: Store,
  settings: ScaleSettings,
  figures: readonly QueueFigures[],
  learned: ReadonlyMap<string, StatedLimits>,
  { targetSeconds = TARGET_SECONDS, concurrency }: Omit<ScaleOptions, "queues"> = {},
): Promise<ScaleSignal> {
  const times = await readCallTimes(store);
  const places = concurrency ?? settings.workerConcurrency ?? PROFILES[settings.profile].maxConcurrency;
  const known = { limits: settings.limits, learned, times, places };
  return scaleOf(
    figures.map((queue) => workOf(queue, known)),
    targetSeconds,
  );
}

export type ScaleSettings = Pick<Settings, "limits" | "profile" | "workerConcurrency">;

interface Known {
  limits: Settings["limits"];
  learned: ReadonlyMap<string, StatedLimits>;
  times: ReadonlyMap<string, number>;
  places: number;
}

function workOf(figures: QueueFigures, { limits, learned, times, places }: Known): Work {
  const { queue, waiting, prioritized, soon, isPaused } = figures;
  // What an operator has paused no worker would begin.
  const backlog = isPaused ? 0 : waiting + prioritized + soon;
  const ref = parseCompletionQueueName(queue);
  if (!ref && queue !== ROUTE_QUEUE) {
    const isActivity = activityOfQueue(queue) !== undefined;
    const seconds = isActivity ? USUAL_CALL_SECONDS : TURN_SECONDS;
    const atWork = isActivity ? MAX_ACTIVITIES_AT_WORK : MAX_RUNS_AT_WORK;
    return { figures, budget: queue, backlog, seconds, places: atWork, callsPerSecond: Infinity };
  }
  const key = ref?.key ?? queue;
  const knownMs = times.get(key) ?? meanOf([...times.values()]);
  const seconds = knownMs === undefined ? USUAL_CALL_SECONDS : knownMs / 1000;
  const rate = ref ? callsPerSecond(figures, limitsOf(limits, learned, key)) : Infinity;
  return { figures, budget: budgetId(limits, key), backlog, seconds, places, callsPerSecond: rate };
}

function meanOf(values: readonly number[]): number | undefined {
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
}

/** What the limits let through, by the tokens that the calls of the last minute took. */
function callsPerSecond(figures: QueueFigures, limits: ReturnType<typeof limitsOf>): number {
  const { requests, tokens, outputTokens, pauseMs, breakerOpenMs } = figures;
  if (pauseMs > LONG_PAUSE_MS || breakerOpenMs >= 0) return 0;
  const perCall = (used: number) => (requests > 0 ? used / requests : 0);
  const taken = {
    rpm: 1,
    tpm: perCall(tokens),
    itpm: perCall(tokens - outputTokens),
    otpm: perCall(outputTokens),
  };
  const rates = Object.entries(limits).map(
    ([name, { perMinute }]) => perMinute / 60 / taken[name as keyof typeof taken],
  );
  return Math.min(Infinity, ...rates);
}

function scaleOf(work: readonly Work[], targetSeconds: number): ScaleSignal {
  let wanted = 0;
  let limitBound = false;
  for (const ofBudget of Map.groupBy(work, ({ budget }) => budget).values()) {
    const needed = sumOf(ofBudget, ({ backlog, figures, seconds, places }) => {
      const atOnce = ((backlog + figures.active / 2) * seconds) / places;
      return Math.max(atOnce, backlog * PROCESSOR_SECONDS) / targetSeconds;
    });
    // Queues of one budget share its rate.
    const rate = Math.min(...ofBudget.map((queue) => queue.callsPerSecond));
    const fed = Math.max(
      ...ofBudget.map(({ seconds, places }) => rate * Math.max(seconds / places, PROCESSOR_SECONDS)),
    );
    wanted += Math.min(needed, fed);
    if (fed < needed) limitBound = true;
  }
  const backlog = sumOf(work, (queue) => queue.backlog);
  const active = sumOf(work, ({ figures }) => figures.active);
  const held = sumOf(work, ({ figures, places }) => figures.active / places);
  const least = backlog + active > 0 ? 1 : 0;
  return {
    backlog,
    backlogSeconds: rounded(sumOf(work, (queue) => queue.backlog * queue.seconds)),
    active,
    oldestSeconds: rounded(Math.max(0, ...work.map(({ figures }) => figures.oldestMs)) / 1000),
    wantedWorkers: Math.max(least, Math.ceil(wanted - 1e-9), Math.ceil(held - 1e-9)),
    limitBound,
  };
}

function sumOf(work: readonly Work[], value: (queue: Work) => number): number {
  return work.reduce((sum, queue) => sum + value(queue), 0);
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
