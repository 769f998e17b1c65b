import { LANE_PRICE_SHARE } from "../../shared/cost.ts";
import { sha256 } from "../../shared/digest.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { DiskIndex } from "../disk-index.ts";

/** The least rows of each model that are drawn, where it has so many. */
const LEAST_ROWS = 8;
const RANK_BYTES = 6;

export interface SampleOptions {
  /** How many rows, of all models together. */
  rows: number;
  /** Another seed draws other rows. */
  seed: number;
}

/** A row that was drawn, and what its answer came to. */
interface SampledRow {
  /** A guess at its prompt's tokens. */
  asked: number;
  prompt: number;
  completion: number;
  /** USD of a single call; null when nobody knows. */
  costUsd: number | null;
  failed: boolean;
}

/** The rows of one model. */
export interface ModelSample {
  model: ModelRef;
  /** Rows without a result, and the guess at their prompts' tokens. */
  restRows: number;
  restAsked: number;
  /** What rows with a result came to. */
  done: { rows: number; prompt: number; completion: number; costUsd: number };
  /** Those of the sample that have a result. */
  sample: readonly SampledRow[];
}

/**
 * Draws rows evenly from all that can be asked, from each model by its share; returns their ids. The same file and seed draw the
 * same rows, and a larger sample holds a smaller one.
 */
export function drawSample(index: DiskIndex, { rows, seed }: SampleOptions): string[] {
  const models = index.models();
  const counts = models.map(({ key }) => index.counts().models.get(key)?.total ?? 0);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const most = counts.map((count) =>
    Math.min(count, Math.max(LEAST_ROWS, Math.round((rows * count) / Math.max(1, total)))),
  );
  const drawn = models.map(() => [] as { rank: number; id: string }[]);
  // A row's id is a hash already; the seed turns it into another number that looks as random.
  const mask = Buffer.from(sha256(`sample ${seed}`), "hex").subarray(0, RANK_BYTES);
  const all = index.database.prepare("SELECT id, model FROM rows WHERE model IS NOT NULL");
  for (const { id, model } of all.iterate() as Iterable<{ id: Uint8Array; model: number }>) {
    const best = drawn[model];
    const size = most[model] ?? 0;
    if (!best || size === 0) continue;
    const rank = rankOf(id, mask);
    if (best.length >= size && rank >= (best.at(-1)?.rank ?? 0)) continue;
    const at = best.findIndex((other) => other.rank > rank);
    best.splice(at < 0 ? best.length : at, 0, { rank, id: Buffer.from(id).toString("hex") });
    if (best.length > size) best.pop();
  }
  return drawn.flat().map(({ id }) => id);
}

/** Returns what a sample and all other rows came to so far. */
export function readSample(index: DiskIndex, ids: readonly string[]): ModelSample[] {
  const sums = index.database.prepare(
    `SELECT total(state = 0) AS restRows, total(iif(state = 0, asked_tokens, 0)) AS restAsked,
     total(state > 0) AS rows, total(iif(state = 0, 0, prompt_tokens)) AS prompt, total(iif(state = 0, 0, completion_tokens)) AS completion,
     total(iif(state = 0, 0, cost_usd)) AS costUsd FROM rows WHERE model = ?`,
  );
  const one = index.database.prepare(
    `SELECT model, state, asked_tokens AS asked, prompt_tokens AS prompt, completion_tokens AS completion,
     cost_usd AS costUsd, lane FROM rows WHERE id = ?`,
  );
  const rows = ids.map((id) => one.get(Buffer.from(id, "hex")) as unknown as StoredSample);
  return index.models().map((model, place) => {
    const { restRows, restAsked, ...done } = sums.get(place) as unknown as StoredSums;
    const own = rows.filter((row) => row.model === place && row.state > 0);
    const sample = own.map(({ asked, prompt, completion, costUsd, state, lane }) => ({
      ...{ asked, prompt, completion },
      costUsd: costUsd === null ? (state === 2 ? 0 : null) : costUsd / (lane === null ? 1 : LANE_PRICE_SHARE),
      failed: state === 2,
    }));
    return { model, restRows, restAsked, done, sample };
  });
}

interface StoredSums {
  restRows: number;
  restAsked: number;
  rows: number;
  prompt: number;
  completion: number;
  costUsd: number;
}

interface StoredSample {
  model: number;
  state: number;
  asked: number;
  prompt: number;
  completion: number;
  costUsd: number | null;
  lane: string | null;
}

function rankOf(id: Uint8Array, mask: Uint8Array): number {
  let rank = 0;
  for (let at = 0; at < RANK_BYTES; at += 1) rank = rank * 256 + ((id[at] ?? 0) ^ (mask[at] ?? 0));
  return rank;
}
