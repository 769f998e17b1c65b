const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** The ways to buy an answer, the cheapest first; of equal prices the one that takes nothing of the account's limits. */
export const LANES = ["batch", "flex", "online"] as const;
export type Lane = (typeof LANES)[number];

/** When a batch has to be done, and what it may be bought by. */
export interface LaneOptions {
  /** Epoch milliseconds by which every row should have its result. */
  byMs: number;
  /** Default: all. */
  lanes: readonly Lane[];
}

/**
 * What becomes of rows of which nobody can tell whether their provider has them, when their time comes, which without a
 * deadline is at once: `wait` until it can be told (default), or `buy` them online, perhaps twice.
 */
export type OnUnknown = "wait" | "buy";

/** What is known of how long provider batches take, before any was seen: the share that is done by a time. */
const PUBLISHED: readonly (readonly [number, number])[] = [
  [MINUTE_MS, 0.02],
  [7 * MINUTE_MS, 0.5],
  [HOUR_MS, 0.9],
  [8 * HOUR_MS, 0.94],
  [24 * HOUR_MS, 0.99],
];
/** What is published counts as so many batches that were seen. */
const PUBLISHED_WEIGHT = 5;
/** A batch is bought when it is done in time with at least this chance: rows that it leaves are charged nothing. */
const LEAST_CHANCE = 0.2;
/** The same where the rows can be had at the same price at once, in the tier flex. */
const LEAST_CHANCE_BEFORE_FLEX = 0.5;
/** The time that is kept for the rows left, of what they take online. */
const RESERVE_FACTOR = 1.5;
/** Of the whole time, what is kept for an outage. */
const RESERVE_SHARE = 1 / 8;

/**
 * Returns the chance that a provider batch is done within `ms`.
 * @param seen how long the model's latest batches took, in milliseconds; negative: one that ended unfinished after so long, which
 * says nothing of longer times
 * Source of what is assumed before: OpenRouter's figures of 230,000 batches (median 7 minutes, 90 % within an hour).
 */
export function chanceWithin(ms: number, seen: readonly number[]): number {
  const telling = seen.filter((one) => one >= 0 || -one >= ms);
  const done = telling.filter((one) => one >= 0 && one <= ms).length;
  return (published(ms) * PUBLISHED_WEIGHT + done) / (PUBLISHED_WEIGHT + telling.length);
}

function published(ms: number): number {
  const at = PUBLISHED.findIndex(([upTo]) => ms < upTo);
  if (at < 0) return 0.99;
  const [toMs, toShare] = PUBLISHED[at] ?? [1, 0];
  const [fromMs, fromShare] = PUBLISHED[at - 1] ?? [1000, 0];
  if (ms <= fromMs) return fromShare;
  // Evenly on a logarithmic scale.
  return fromShare + (toShare - fromShare) * (Math.log(ms / fromMs) / Math.log(toMs / fromMs));
}

/** Returns whether rows may be bought in a provider batch now: it may well be done before they have to go another way. */
export function buysBatch(
  nowMs: number,
  { endsAtMs, hasFlex }: { endsAtMs: number; hasFlex: boolean },
  seen: readonly number[],
): boolean {
  const least = hasFlex ? LEAST_CHANCE_BEFORE_FLEX : LEAST_CHANCE;
  return endsAtMs > nowMs && chanceWithin(endsAtMs - nowMs, seen) >= least;
}

/**
 * Returns when the rows that are left have to go online to be in time, in epoch milliseconds.
 * @param rowsPerSecond what the account's limits let through online
 * @param leastMs what is kept beside the time that they take: the end of provider batches takes a while, and calls may fail
 * @param spanMs the whole time that the batch was given: the longer, the more of it is kept, which costs nearly nothing
 */
export function switchAt(
  byMs: number,
  {
    rows,
    rowsPerSecond,
    leastMs,
    spanMs,
  }: { rows: number; rowsPerSecond: number; leastMs: number; spanMs: number },
): number {
  const workMs = (rows / Math.max(rowsPerSecond, 0.01)) * 1000 * RESERVE_FACTOR;
  return byMs - workMs - Math.max(leastMs, spanMs * RESERVE_SHARE);
}
