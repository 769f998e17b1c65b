import { createHistogram } from "node:perf_hooks";
import { LANE_PRICE_SHARE } from "../shared/cost.ts";
import { FailureCauses } from "../shared/failure-causes.ts";
import type { LaneStatus, ResultRecord } from "../shared/records.ts";

/** What a batch's succeeded rows used. */
export interface BatchUse {
  prompt: number;
  completion: number;
  /** Part of `prompt`. */
  cached: number;
  /** USD of the rows whose cost is known. */
  costUsd: number;
  /** Rows whose cost nobody knows. */
  unpriced: number;
  /** Rows whose answer was in the cache already: they used and cost nothing. */
  cacheHits: number;
  /** Rows that were bought in a lane at a lower price, and what they cost there, in USD. */
  batchRows: number;
  flexRows: number;
  laneUsd: number;
  /** Some of the tokens are a guess: a provider did not report what it used. */
  estimated?: boolean;
}

/** A row that failed, for people. */
export interface RowFailure {
  customId: string;
  code: string;
  message: string;
}

const MAX_FAILURES = 5;

/** Sums over the results of a batch: tokens and cost of all its runs, latencies and failures of this one. */
export class Tally {
  readonly use: BatchUse;
  /** The last ones, the newest last. */
  readonly failures: RowFailure[] = [];
  /** Failed rows by the code of their error. */
  readonly failureCounts = new Map<string, number>();
  readonly causes = new FailureCauses();
  /** The provider batches that have rows now. */
  lanes: readonly LaneStatus[] = [];
  readonly #latencyMs = createHistogram();

  constructor(carried: BatchUse) {
    this.use = { ...carried };
  }

  /** USD of all rows, as far as calls of failed ones were paid; null when that of a succeeded one is not known. */
  get costUsd(): number | null {
    return this.use.unpriced > 0 ? null : Number(this.use.costUsd.toFixed(12));
  }

  /** Rows that were bought at a lower price, and what that saved in USD. */
  get bought(): { batch: number; flex: number; savedUsd: number } {
    return { batch: this.use.batchRows, flex: this.use.flexRows, savedUsd: this.savedUsd };
  }

  /** What the rows in lanes would have cost more online, in USD. */
  get savedUsd(): number {
    return Number((this.use.laneUsd * (1 / LANE_PRICE_SHARE - 1)).toFixed(12));
  }

  add(customId: string, { tokens, costUsd, latencyMs, status, fromCache, ...record }: ResultRecord): void {
    this.use.prompt += tokens.prompt;
    this.use.completion += tokens.completion;
    this.use.cached += tokens.cached;
    this.use.costUsd += costUsd ?? 0;
    if (tokens.estimated) this.use.estimated = true;
    if (status !== "succeeded") {
      const { code = status, message = `the row was ${status}`, hint } = record.error ?? {};
      this.failureCounts.set(code, (this.failureCounts.get(code) ?? 0) + 1);
      this.causes.add(customId, { code, message, hint, providerMessage: record.providerMessage });
      this.failures.push({ customId, code, message: record.providerMessage ?? message });
      if (this.failures.length > MAX_FAILURES) this.failures.shift();
      return;
    }
    if (costUsd === null) this.use.unpriced += 1;
    if (fromCache) this.use.cacheHits += 1;
    else if (record.lane) {
      this.use[`${record.lane}Rows`] += 1;
      this.use.laneUsd += costUsd ?? 0;
    } else this.#latencyMs.record(Math.max(1, Math.round(latencyMs)));
  }

  /** Milliseconds of successful provider calls, in so many steps from the shortest to the longest; none when this run made none. */
  latencies(most: number): number[] {
    const count = Math.min(most, this.#latencyMs.count);
    return Array.from({ length: count }, (_, at) => this.#latencyMs.percentile((100 * (at + 0.5)) / count));
  }

  /** Milliseconds of the successful online calls; undefined when this run made none. */
  latency(): { p50: number; p95: number; p99: number } | undefined {
    if (this.#latencyMs.count === 0) return undefined;
    const [p50 = 0, p95 = 0, p99 = 0] = [50, 95, 99].map((p) => this.#latencyMs.percentile(p));
    return { p50, p95, p99 };
  }
}
