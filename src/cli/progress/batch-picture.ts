import type { BatchRun, RowFailure } from "../../batch/batch-run.ts";
import type { LimitInForce } from "../../shared/budget.ts";
import { counted } from "../../shared/counted.ts";
import { Rate } from "../../shared/rate.ts";
import type { LaneStatus } from "../../shared/records.ts";
import { usd } from "../../shared/usd.ts";
import type { FleetView, WorkerView } from "./fleet-view.ts";

/** What a batch does at present. */
export type Phase =
  | "counting rows"
  | "sending"
  | "waiting"
  | "ending"
  | "writing results"
  | "done"
  | "interrupted";

export interface ModelPicture {
  /** `entry:model`. */
  key: string;
  total: number;
  done: number;
  failed: number;
  /** Jobs of its queue, other batches' included; absent until they were read. */
  active?: number;
  waiting?: number;
  /** Per minute. */
  used?: { requests: number; tokens: number; outputTokens: number };
  limits: { rpm?: LimitInForce; tpm?: LimitInForce; itpm?: LimitInForce; otpm?: LimitInForce };
}

export interface WorkerPicture extends WorkerView {
  jobsPerSecond: number;
}

/** Everything that is shown of a batch at a moment. */
export interface BatchPicture {
  input: string;
  output: string;
  phase: Phase;
  elapsedMs: number;
  total: number;
  succeeded: number;
  failed: number;
  missing: number;
  /** Whether `total` is of the whole input. */
  isCounted: boolean;
  rowsPerSecond: number;
  /** Undefined while it cannot be told. */
  etaSeconds: number | undefined;
  /** USD; null when the cost of a row is not known. */
  costUsd: number | null;
  /** USD of the whole batch when the missing rows cost what the others did; undefined while it cannot be told. */
  expectedUsd: number | undefined;
  maxCostUsd: number | undefined;
  retries: number;
  rateLimited: number;
  models: readonly ModelPicture[];
  workers: readonly WorkerPicture[];
  /** The last ones, the newest last. */
  failures: readonly RowFailure[];
  /** By their code, the most frequent first. */
  failureCounts: readonly (readonly [code: string, rows: number])[];
  /** Why nothing moves. */
  waitsFor: readonly string[];
  /** What else a person should know. */
  notices: readonly string[];
}

/** After so long without a result the batch counts as waiting. */
const STILL_MS = 3000;

interface Moment {
  fleet: FleetView;
  isEnding: boolean;
  /** The run has ended; nothing more comes. */
  isOver: boolean;
  notices: readonly string[];
}

/** Makes pictures of one run, and keeps what only several of them tell: rates, and since when nothing moves. */
export class BatchCamera {
  readonly #run: BatchRun;
  readonly #options: { input: string; output: string; maxCostUsd: number | undefined };
  readonly #rows = new Rate();
  readonly #workers = new Map<string, Rate>();
  #still = { done: -1, since: Date.now() };

  constructor(run: BatchRun, options: { input: string; output: string; maxCostUsd: number | undefined }) {
    this.#run = run;
    this.#options = options;
  }

  take({ fleet, isEnding, isOver, notices }: Moment): BatchPicture {
    const { total, succeeded, failed, missing, isCounted, costUsd } = this.#run.progress();
    const { failures, failureCounts, models, lanes, bought } = this.#run.details();
    const done = total - missing;
    const rowsPerSecond = this.#rows.add(done);
    if (this.#still.done !== done) this.#still = { done, since: Date.now() };
    const isStill = missing > 0 && Date.now() - this.#still.since >= STILL_MS;
    const waitsFor = isStill && !isOver ? fleet.waitsFor : [];
    const isFinished = missing === 0 && isCounted;
    return {
      ...this.#options,
      phase: phaseOf({ isFinished, isEnding, isOver, isCounted, isWaiting: waitsFor.length > 0 }),
      elapsedMs: Date.now() - this.#run.startedAt,
      total,
      succeeded,
      failed,
      missing,
      isCounted,
      rowsPerSecond,
      etaSeconds: isCounted && rowsPerSecond > 0 ? missing / rowsPerSecond : undefined,
      costUsd,
      expectedUsd:
        isCounted && succeeded > 0 && costUsd !== null
          ? (costUsd / succeeded) * (succeeded + missing)
          : undefined,
      retries: fleet.retries,
      rateLimited: fleet.rateLimited,
      models: this.#run.models.map(({ key }) => {
        const rows = models.get(key) ?? { total: 0, missing: 0, failed: 0 };
        const state = fleet.models.get(key);
        return {
          key,
          total: rows.total,
          done: rows.total - rows.missing,
          failed: rows.failed,
          active: state?.active,
          waiting: state?.waiting,
          used: state?.used,
          limits: state?.limits ?? {},
        };
      }),
      workers: fleet.workers.map((worker) => ({ ...worker, jobsPerSecond: this.#rateOf(worker) })),
      failures,
      failureCounts: [...failureCounts].sort(([, a], [, b]) => b - a),
      waitsFor,
      notices: [...notices, ...lanes.map(laneText), ...boughtText(bought)],
    };
  }

  #rateOf({ id, ended }: WorkerView): number {
    const rate = this.#workers.get(id) ?? new Rate();
    this.#workers.set(id, rate);
    return rate.add(ended);
  }
}

function phaseOf(
  facts: Record<"isFinished" | "isEnding" | "isOver" | "isCounted" | "isWaiting", boolean>,
): Phase {
  if (facts.isOver) return facts.isFinished ? "done" : "interrupted";
  if (facts.isFinished) return "writing results";
  if (facts.isEnding) return "ending";
  if (facts.isWaiting) return "waiting";
  return facts.isCounted ? "sending" : "counting rows";
}

function boughtText({ batch, flex, savedUsd }: { batch: number; flex: number; savedUsd: number }): string[] {
  if (batch + flex === 0) return [];
  return [
    `at half the price: ${counted(batch, "row")} in provider batches, ${flex} in the tier flex, ${usd(savedUsd)} saved`,
  ];
}

/** What a provider batch does, as one sentence. */
export function laneText({ model, id, state, rows, done, reason }: LaneStatus): string {
  const name = id === undefined ? "provider batch" : `provider batch ${id}`;
  if (state === "unknown" && reason !== undefined)
    return `${counted(rows, "row")} of ${model} wait: ${name} is unknown; ${reason}`;
  if (reason !== undefined) return `rows of ${model} go by single calls: ${reason}`;
  return `${name} of ${model}: ${state.replace("_", " ")}, ${done} of ${rows} rows done`;
}
