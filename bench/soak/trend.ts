/** A straight line through a series, by least squares. */
export interface Trend {
  mean: number;
  /** What it gains in an hour: the slope, and the ends of its 95 % confidence interval. */
  perHour: number;
  low: number;
  high: number;
}

type Verdict = "flat" | "grows" | "unclear";

/** Of the mean, in an hour: what is less is no growth that anybody would see. */
const SMALL = 0.02;
/** A slope that may be larger than that is not shown to be flat. */
const LARGE = 0.1;

/**
 * Returns the line through values at times in ms. Neighbours are alike, so that there are fewer independent ones than there are: their number
 * is reduced by the correlation of neighbouring residuals, which makes the interval wider.
 */
export function trendOf(times: readonly number[], values: readonly number[]): Trend {
  const n = values.length;
  const hours = times.map((ms) => ms / 3_600_000);
  const [meanHour, mean] = [meanOf(hours), meanOf(values)];
  const spread = sum(hours.map((hour) => (hour - meanHour) ** 2));
  const slope = sum(hours.map((hour, i) => (hour - meanHour) * (values[i]! - mean))) / spread;
  const residuals = values.map((value, i) => value - mean - slope * (hours[i]! - meanHour));
  const squares = sum(residuals.map((residual) => residual ** 2));
  const alike = squares && sum(residuals.slice(1).map((residual, i) => residual * residuals[i]!)) / squares;
  const correlation = Math.min(0.95, Math.max(0, alike));
  const independent = Math.max(3, (n * (1 - correlation)) / (1 + correlation));
  const error = Math.sqrt(squares / (independent - 2) / spread);
  const margin = quantile(independent - 2) * error;
  return { mean, perHour: slope, low: slope - margin, high: slope + margin };
}

/** Says whether a series grows: for certain, certainly not by much, or neither. What shrinks is flat. */
export function verdictOf({ mean, low, high }: Trend): Verdict {
  if (low > SMALL * mean) return "grows";
  return high <= LARGE * mean ? "flat" : "unclear";
}

/** Of Student's t distribution, 97.5 %; by the first terms of its expansion around the normal distribution. */
function quantile(freedom: number): number {
  const z = 1.96;
  return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2);
}

function meanOf(values: readonly number[]): number {
  return sum(values) / values.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
