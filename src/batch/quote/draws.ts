/** How many outcomes are drawn. */
export const DRAWS = 1000;

/** Three points of what may come: one in ten is below `p10`, half below `p50`, at least nine in ten below `p90`. */
export interface Range {
  p10: number;
  p50: number;
  p90: number;
}

/** Where in the draws they are. */
const KNOWN: Readonly<Record<keyof Range, number>> = { p10: 0.1, p50: 0.5, p90: 0.9 };
/** A sample shows too little of what is rare and dear: the upper one is set higher. */
const SAMPLED: Readonly<Record<keyof Range, number>> = { ...KNOWN, p90: 0.95 };
/** Beyond the largest value of a sample there are others: one is put in, so many times as far from the middle as that is. */
const TAIL = 2;
/** Sums of more values than this are drawn as normal. */
const MOST_ADDED = 60;
/** The least spread of a drawn sample, of the real one's: one that drew equal values tells nothing. */
const LEAST_SPREAD = 0.2;

/** Returns numbers from 0 to 1 that follow from a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Returns `DRAWS` sums that the rows left may have, by a sample of others.
 * A bootstrap of the studentised error of prediction: each draw takes a sample from the sample, and with it the rows left, and
 * tells by how many of its own standard errors it was wrong. So skewed costs get a long upper end, and few rows left vary more
 * by themselves. The levels and the tail were set by simulation (`test/batch/quote-coverage.test.ts`).
 */
export function drawSums(sample: readonly number[], restRows: number, random: () => number): number[] {
  if (restRows === 0 || sample.length === 0) return Array(DRAWS).fill(0);
  const rows = withTail(sample);
  const own = spreadOf(sample);
  const tailed = spreadOf(rows);
  const drawn = () => rows[Math.floor(random() * rows.length)] ?? 0;
  return Array.from({ length: DRAWS }, () => {
    const again = spreadOf(Array.from({ length: sample.length }, drawn));
    const rest =
      restRows <= MOST_ADDED
        ? Array.from({ length: restRows }, drawn).reduce(add, 0) / restRows
        : tailed.mean + (tailed.deviation / Math.sqrt(restRows)) * normal(random);
    const error = Math.max(again.deviation, LEAST_SPREAD * tailed.deviation);
    const wrongBy = error > 0 ? (rest - again.mean) / error : 0;
    return (own.mean + wrongBy * own.deviation) * restRows;
  });
}

/** Returns the range of draws, of a sample's or of what is known. */
export function rangeOf(draws: readonly number[], kind: "sampled" | "known" = "sampled"): Range {
  const levels = kind === "sampled" ? SAMPLED : KNOWN;
  const sorted = [...draws].sort((a, b) => a - b);
  const at = (level: number) => sorted[Math.min(sorted.length - 1, Math.floor(level * sorted.length))] ?? 0;
  return { p10: at(levels.p10), p50: at(levels.p50), p90: at(levels.p90) };
}

function withTail(sample: readonly number[]): number[] {
  const sorted = [...sample].sort((a, b) => a - b);
  const [middle = 0, last = 0] = [sorted[sorted.length >> 1], sorted.at(-1)];
  return [...sample, last + TAIL * (last - middle)];
}

function spreadOf(values: readonly number[]): { mean: number; deviation: number } {
  const mean = values.reduce(add, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / Math.max(1, values.length - 1)) };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const add = (sum: number, value: number) => sum + value;
