import { z } from "zod";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** The time both vendors give a batch. */
export const WINDOW_MS = 24 * HOUR_MS;
/** How long a batch of OpenAI is looked at before it begins, and how long its files are made. */
export const VALIDATING_MS = 5000;
export const FINALIZING_MS = 20_000;
/** How long a cancelled batch goes on with what it has begun. */
export const CANCELLING_MS = 60_000;

const times = z.int().min(0);

export const batchPlanSchema = z.strictObject({
  /** Hours of the provider's batches pass this many times faster. */
  speed: z.number().positive().max(1e6).optional(),
  /** The time of every batch; default: drawn, see `durationOf`. */
  durationMs: z.number().min(0).nullish(),
  /** The next batches that expire with this share of their rows done. */
  expire: z.strictObject({ times, doneShare: z.number().min(0).max(1).default(0.5) }).optional(),
  /** The next batches that are accepted, without an answer to who made them. */
  loseCreateAnswers: times.optional(),
  /** The next batches that fail in validation. */
  failValidation: times.optional(),
  /** Whether a page of a list begins with the last batch of the page before, as lists under load do. */
  repeatsInLists: z.boolean().optional(),
  /** How long a batch is missing in lists after it was made. */
  listLagMs: z.number().min(0).optional(),
  /** The next readings of results that lack the second half of their lines. */
  cutResults: times.optional(),
  /** Tokens that the unfinished batches of an account and model may have; null: any. */
  tokenPool: z.number().positive().nullish(),
  /** Whether results are gone. */
  areResultsGone: z.boolean().optional(),
});
/** What is changed of the plan; the rest stays. Times are those of the provider, before `speed`. */
export type BatchPlanChange = z.input<typeof batchPlanSchema>;

/** What becomes of batches that are made from now on. */
export interface BatchPlan {
  speed: number;
  durationMs: number | null;
  expire: { times: number; doneShare: number };
  loseCreateAnswers: number;
  failValidation: number;
  repeatsInLists: boolean;
  listLagMs: number;
  cutResults: number;
  tokenPool: number | null;
  areResultsGone: boolean;
}

/** Returns a plan without faults. */
export function newBatchPlan(speed: number): BatchPlan {
  return {
    speed,
    durationMs: null,
    expire: { times: 0, doneShare: 0.5 },
    loseCreateAnswers: 0,
    failValidation: 0,
    repeatsInLists: false,
    listLagMs: 0,
    cutResults: 0,
    tokenPool: null,
    areResultsGone: false,
  };
}

/** Takes one of the times that a fault is still to come. */
export function takes(
  plan: BatchPlan,
  fault: "loseCreateAnswers" | "failValidation" | "cutResults",
): boolean {
  if (plan[fault] === 0) return false;
  plan[fault]--;
  return true;
}

/** Returns results as they are read: whole, unless the next reading lacks the second half of its lines. */
export function readable(plan: BatchPlan, text: string): string {
  if (text === "" || !takes(plan, "cutResults")) return text;
  const lines = text.trimEnd().split("\n");
  return lines
    .slice(0, Math.floor(lines.length / 2))
    .map((line) => `${line}\n`)
    .join("");
}

/** Parts of the distribution, by their upper end: the share of batches up to it, and the time there. */
const QUANTILES: readonly (readonly [number, number])[] = [
  [0, MINUTE_MS],
  [0.5, 7 * MINUTE_MS],
  [0.9, HOUR_MS],
  [0.94, 8 * HOUR_MS],
  [0.99, WINDOW_MS],
  [1, 1.5 * WINDOW_MS],
];

/**
 * Returns how long a batch takes, in the provider's time: half of them up to 7 minutes, 90 % up to an hour, 5 % between
 * 8 and 24 hours, 1 % longer than their window, so that they expire.
 * Source: OpenRouter's figures of 230,000 batches, with the tail of public reports.
 * @param share a number in [0, 1), drawn evenly
 */
export function durationOf(share: number): number {
  const at = QUANTILES.findIndex(([upTo]) => share < upTo);
  const [fromShare, fromMs] = QUANTILES[at - 1] ?? [0, MINUTE_MS];
  const [toShare, toMs] = QUANTILES[at] ?? [1, WINDOW_MS];
  // Evenly on a logarithmic scale: times spread over three decades.
  return fromMs * (toMs / fromMs) ** ((share - fromShare) / (toShare - fromShare));
}
