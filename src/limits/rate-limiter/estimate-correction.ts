import type { TokenCounts } from "../../shared/token-counts.ts";

/** Fewer settled calls do not make a ratio. */
const MIN_CALLS = 5;
const KEPT_PER_CALL = 0.98;
const MAX_FACTOR = 4;

/**
 * Raises estimates of models that are too low, by actual over estimated tokens of the last calls, weighted by size:
 * without it the debts of all calls under way would come back, a call's latency later, as a wave of bursts and
 * droughts. Estimates that are too high stay as they are: their refunds make no wave, and lowering them would.
 */
export class EstimateCorrection {
  /** By `entry:model`: models of one budget may be estimated differently well. */
  readonly #ratios = new Map<string, { input: Ratio; output: Ratio }>();

  /** Returns the estimate, raised where those of this key were too low. */
  correct(key: string, { input, output }: TokenCounts): TokenCounts {
    const ratios = this.#ratiosOf(key);
    return { input: input * ratios.input.factor, output: output * ratios.output.factor };
  }

  /** Learns from what a call was estimated at and what it took. */
  settled(key: string, estimate: TokenCounts, actual: TokenCounts): void {
    const { input, output } = this.#ratiosOf(key);
    input.add(actual.input, estimate.input);
    output.add(actual.output, estimate.output);
  }

  #ratiosOf(key: string): { input: Ratio; output: Ratio } {
    const ratios = this.#ratios.get(key) ?? { input: new Ratio(), output: new Ratio() };
    this.#ratios.set(key, ratios);
    return ratios;
  }
}

class Ratio {
  #actual = 0;
  #estimated = 0;
  #calls = 0;

  get factor(): number {
    if (this.#calls < MIN_CALLS) return 1;
    return Math.min(MAX_FACTOR, Math.max(1, this.#actual / this.#estimated));
  }

  add(actual: number, estimated: number): void {
    if (estimated <= 0) return;
    this.#actual = this.#actual * KEPT_PER_CALL + actual;
    this.#estimated = this.#estimated * KEPT_PER_CALL + estimated;
    this.#calls += 1;
  }
}
