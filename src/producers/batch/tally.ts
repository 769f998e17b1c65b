import { createHistogram } from "node:perf_hooks";
import type { ResultRecord } from "../../shared/records.ts";

/** Sums over the results of a batch: tokens of all its runs, latencies of this one. */
export class Tally {
  readonly tokens: { prompt: number; completion: number };
  readonly #latencyMs = createHistogram();

  constructor(carried: { prompt: number; completion: number }) {
    this.tokens = { ...carried };
  }

  add({ tokens, latencyMs, status }: ResultRecord): void {
    this.tokens.prompt += tokens.prompt;
    this.tokens.completion += tokens.completion;
    if (status === "succeeded") this.#latencyMs.record(Math.max(1, Math.round(latencyMs)));
  }

  /** Milliseconds of the successful provider calls; zeros when this run made none. */
  latency(): { p50: number; p95: number; p99: number } {
    const [p50 = 0, p95 = 0, p99 = 0] = [50, 95, 99].map((p) =>
      this.#latencyMs.count === 0 ? 0 : this.#latencyMs.percentile(p),
    );
    return { p50, p95, p99 };
  }
}
