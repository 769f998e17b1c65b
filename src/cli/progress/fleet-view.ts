import type { BatchRun } from "../../batch/batch-run.ts";
import { type QueueState, readQueueStates } from "../../producers/queue-states.ts";
import { completionQueueName } from "../../shared/queue-name.ts";
import type { Settings } from "../../shared/settings.ts";
import { readBatch } from "../../store/batch.ts";
import type { Store } from "../../store/store.ts";
import { readWorkersById, type WorkerCard } from "../../store/worker-card.ts";
import { waitsForText } from "../queues.ts";

/** As many models have a line at most; the others cost no question to Redis. */
const MAX_MODELS = 8;

export interface WorkerView {
  id: string;
  host: string;
  pid: number;
  active: number;
  /** Jobs that it brought to their end since it started. */
  ended: number;
  isMemoryLow: boolean;
}

/** What Redis knows of a batch's run and of those who work for it. */
export interface FleetView {
  retries: number;
  rateLimited: number;
  /** By `entry:model`. */
  models: ReadonlyMap<string, Pick<QueueState, "limits" | "used"> & { active: number; waiting: number }>;
  workers: readonly WorkerView[];
  /** Reasons why jobs of its queues do not run. */
  waitsFor: readonly string[];
}

export const NO_FLEET: FleetView = {
  retries: 0,
  rateLimited: 0,
  models: new Map(),
  workers: [],
  waitsFor: [],
};

/** Reads what Redis knows of a run. */
export async function readFleet(store: Store, settings: Settings, run: BatchRun): Promise<FleetView> {
  const models = modelsToShow(run);
  const [states, cards, record] = await Promise.all([
    readQueueStates(store, settings, models.map(completionQueueName), run.startedAt),
    readWorkersById(store),
    readBatch(store, run.id),
  ]);
  const shown = states.map(({ key, counts: { active, waiting, delayed }, limits, used }) => {
    return [key, { limits, used, active, waiting: waiting + delayed }] as const;
  });
  const entries = new Set(run.calledModels.map(({ entry }) => entry));
  return {
    retries: record?.retries ?? 0,
    rateLimited: record?.rateLimited ?? 0,
    models: new Map(shown),
    workers: [...cards].filter(([, card]) => canWork(card, entries)).map(workerView),
    waitsFor: states.filter(({ waitsFor }) => waitsFor.length > 0).map(waitsForText),
  };
}

/** Those with rows to go come first. */
function modelsToShow(run: BatchRun) {
  const { models: counts } = run.details();
  const isOpen = ({ key }: { key: string }) => (counts.get(key)?.missing ?? 0) > 0;
  const open = run.models.filter(isOpen);
  return [...open, ...run.models.filter((model) => !isOpen(model))].slice(0, MAX_MODELS);
}

function canWork(card: WorkerCard, entries: ReadonlySet<string>): boolean {
  return Object.keys(card.entries).some((entry) => entries.has(entry));
}

function workerView([id, { host, pid, jobs, isMemoryLow }]: [string, WorkerCard]): WorkerView {
  return { id, host, pid, active: jobs?.active ?? 0, ended: jobs?.ended ?? 0, isMemoryLow };
}
