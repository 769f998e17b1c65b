import type { TokenCounts } from "./cost.ts";

/** Fewer settled calls do not make a ratio. */
const MIN_CALLS = 5;
const KEPT_PER_CALL = 0.98;
const MAX_FACTOR = 4;

/**
 * How far off a model's estimates are: actual over estimated tokens of the last calls, weighted by size. Without it an
 * error of the estimates would come back, a call's latency later, as a wave of debts or refunds.
 */
export class EstimateCorrection {
  readonly #input = new Ratio();
  readonly #output = new Ratio();

  correct({ input, output }: TokenCounts): TokenCounts {
    return { input: input * this.#input.value, output: output * this.#output.value };
  }

  settled(estimate: TokenCounts, actual: TokenCounts): void {
    this.#input.add(actual.input, estimate.input);
    this.#output.add(actual.output, estimate.output);
  }
}

class Ratio {
  #actual = 0;
  #estimated = 0;
  #calls = 0;

  get value(): number {
    if (this.#calls < MIN_CALLS) return 1;
    return Math.min(MAX_FACTOR, Math.max(1 / MAX_FACTOR, this.#actual / this.#estimated));
  }

  add(actual: number, estimated: number): void {
    if (estimated <= 0) return;
    this.#actual = this.#actual * KEPT_PER_CALL + actual;
    this.#estimated = this.#estimated * KEPT_PER_CALL + estimated;
    this.#calls += 1;
  }
}
