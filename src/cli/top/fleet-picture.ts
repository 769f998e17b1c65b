import { type ErrorGroup, readErrorReport } from "../../producers/error-report.ts";
import { type QueueState, readQueueStates } from "../../producers/queue-states.ts";
import { readWorkerStates } from "../../producers/worker-states.ts";
import type { Settings } from "../../shared/settings.ts";
import type { WorkerState } from "../../shared/worker-state.ts";
import { readFleetFigures } from "../../store/fleet-figures.ts";
import { readOutcomes } from "../../store/fleet-outcomes.ts";
import type { Store } from "../../store/store.ts";

export interface QueuePicture
  extends Pick<QueueState, "queue" | "key" | "counts" | "limits" | "used" | "waitsFor"> {
  isPaused: boolean;
  /** The part of its tightest limit that was used in the last minute; undefined: no limit is known. */
  budgetShare: number | undefined;
  /** How long the oldest job has waited that might run. */
  oldestMs: number;
  workers: number;
}

/** A fleet at a moment: what `gluellm top --json` prints. */
export interface FleetPicture {
  namespace: string;
  at: Date;
  /** Those with work first, then by name. */
  queues: QueuePicture[];
  workers: WorkerState[];
  /** Of the last minute, or two. */
  perMinute: {
    requests: number;
    tokens: number;
    rateLimited: number;
    ended: number;
    failed: number;
    spentUsd: number;
  };
  /** Of the last 24 hours. */
  spentDayUsd: number;
  /** Of this hour and the last one, those with the most failures first. */
  errors: Pick<ErrorGroup, "code" | "model" | "failed" | "failedCalls">[];
  /** What stands out of them. */
  patterns: string[];
}

/** Sums of ends are by the minute: the present one and the one before, and those of a day. */
const WINDOWS = { recent: 2, day: 1440 } as const;

/** Reads how a fleet is now. */
export async function readFleetPicture(store: Store, settings: Settings): Promise<FleetPicture> {
  const now = Date.now();
  const [states, workers, figures, outcomes, errors] = await Promise.all([
    readQueueStates(store, settings),
    readWorkerStates(store),
    readFleetFigures(store),
    readOutcomes(store, WINDOWS, now),
    readErrorReport(store),
  ]);
  const oldest = new Map(figures?.queues.map(({ queue, oldestMs }) => [queue, oldestMs]));
  const queues = states.map((state) => queuePicture(state, oldest.get(state.queue) ?? 0));
  const sum = (of: (state: QueueState) => number) => states.reduce((total, state) => total + of(state), 0);
  const { ended, failed, costUsd } = outcomes.recent;
  const minutes = 1 + (now % 60_000) / 60_000;
  return {
    namespace: settings.namespace,
    at: new Date(now),
    queues: queues.sort((a, b) => Number(hasWork(b)) - Number(hasWork(a)) || a.key.localeCompare(b.key)),
    workers,
    perMinute: {
      requests: sum(({ used }) => used.requests),
      tokens: sum(({ used }) => used.tokens),
      rateLimited: sum(({ used }) => used.rateLimited),
      ...{ ended: ended / minutes, failed: failed / minutes, spentUsd: costUsd / minutes },
    },
    spentDayUsd: outcomes.day.costUsd,
    errors: errors.groups.map(({ code, model, failed, failedCalls }) => ({
      code,
      model,
      failed,
      failedCalls,
    })),
    patterns: errors.patterns.map(({ text }) => text),
  };
}

function queuePicture(state: QueueState, oldestMs: number): QueuePicture {
  const { queue, key, counts, limits, used, waitsFor, pausedByOperator, workers } = state;
  const input = used.tokens - used.outputTokens;
  const shares = [
    limits.rpm && used.requests / limits.rpm.perMinute,
    limits.tpm && used.tokens / limits.tpm.perMinute,
    limits.itpm && input / limits.itpm.perMinute,
    limits.otpm && used.outputTokens / limits.otpm.perMinute,
  ].filter((share) => share !== undefined);
  return {
    ...{ queue, key, counts, limits, used, waitsFor, workers, oldestMs },
    isPaused: pausedByOperator,
    budgetShare: shares.length > 0 ? Math.max(...shares) : undefined,
  };
}

function hasWork({ counts }: QueuePicture): boolean {
  return counts.waiting + counts.active + counts.delayed > 0;
}
