import type { LaneOutlook } from "../lanes/lane-outlook.ts";
import { DRAWS, type Range, randomOf, rangeOf } from "./draws.ts";
import { batchWay, byWay, discounted, onlineWay, type Way } from "./lane-ways.ts";
import { type DrawBasis, drawModel, type ModelDraws, sum } from "./model-draws.ts";
import type { ModelSample } from "./sample.ts";

/** What one way to buy the rows may come to. */
export interface LaneQuote {
  /** USD of the whole batch, with what is spent already; null: no price is known for a model. */
  costUsd: Range | null;
  /** Milliseconds that the rows left take from now on; null: nobody can say. */
  durationMs: Range | null;
}

/** What a batch may cost and how long it may take, by a sample of its rows. */
export interface BatchQuote {
  /** Rows of the input that can be asked; those without a result; those of the sample, and how many of these failed. */
  rows: { total: number; left: number; sampled: number; failed: number };
  /** Of the whole batch. */
  tokens: { prompt: number; completion: Range };
  /** USD of the results so far, the sample's among them; null when no price is known. */
  spentUsd: number | null;
  /** Each way for all rows that are left; absent: the providers have it for none of the models. */
  lanes: { online: LaneQuote; flex?: LaneQuote; batch?: LaneQuote };
  /** As `by` buys them; `chance` is that all are done by then. Absent without `by`. */
  by?: LaneQuote & { atMs: number; chance: number };
}

/** What a quote is made of beside the sample. */
export interface QuoteBasis extends DrawBasis {
  /** How long provider batches took, by `entry:model`. */
  durations: ReadonlyMap<string, readonly number[]>;
  /** What is expected of the lanes, and the deadline in epoch milliseconds. */
  by?: { outlook: LaneOutlook; atMs: number } | undefined;
  seed: number;
}

/** Returns what a batch may cost and how long it may take. */
export function makeQuote(samples: readonly ModelSample[], basis: QuoteBasis): BatchQuote {
  const { settings, durations, by, seed } = basis;
  const random = randomOf(seed);
  const draws = samples.map((sample) => drawModel(sample, basis, random));
  const isPriced = draws.every(({ usd }) => usd !== undefined);
  const spentUsd = isPriced ? sum(samples.map(({ done }) => done.costUsd)) : null;
  const site = { settings, random, seenOf: (key: string) => durations.get(key) ?? [] };
  const bought = (wayOf: (draws: ModelDraws) => Way | undefined, timesAre: "sampled" | "known" = "known") => {
    const ways = draws.map(wayOf);
    if (ways.every((way) => way === undefined)) return undefined;
    return buy(
      draws.map((one, at) => ({ draws: one, way: ways[at] ?? onlineWay(one) })),
      spentUsd,
      timesAre,
    );
  };
  const online = bought(onlineWay, "sampled")?.quote ?? { costUsd: null, durationMs: null };
  const flex = bought((one) => discounted(one, site))?.quote;
  const batch = bought((one) => batchWay(one, site))?.quote;
  const planned = by && bought((one) => byWay(one, site, by.outlook));
  const rows = samples.flatMap(({ sample }) => sample);
  const left = sum(samples.map(({ restRows }) => restRows));
  const completion = addUp(draws.map((one) => one.completion));
  const known = sum(samples.map(({ done }) => done.completion));
  return {
    rows: {
      total: left + sum(samples.map(({ done }) => done.rows)),
      ...{ left, sampled: rows.length, failed: rows.filter(({ failed }) => failed).length },
    },
    tokens: {
      prompt: Math.round(
        sum(draws.map(({ prompt }) => prompt)) + sum(samples.map(({ done }) => done.prompt)),
      ),
      completion: rangeOf(completion.map((rest) => Math.round(known + rest))),
    },
    spentUsd,
    lanes: { online, ...(flex && { flex }), ...(batch && { batch }) },
    ...(by &&
      planned && {
        by: { ...planned.quote, atMs: by.atMs, chance: shareWithin(planned.ms, by.atMs - Date.now()) },
      }),
  };
}

/** Buys each model's rows its way, once for each draw. */
function buy(
  models: readonly { draws: ModelDraws; way: Way }[],
  spentUsd: number | null,
  timesAre: "sampled" | "known",
): { quote: LaneQuote; ms: readonly number[] | null } {
  const usd: number[] = [];
  const ms: number[] = [];
  for (let at = 0; at < DRAWS; at += 1) {
    const outcomes = models.map(({ way }) => way(at));
    const costs = models.map(({ draws }, n) => (draws.usd?.[at] ?? 0) * (outcomes[n]?.priceShare ?? 1));
    usd.push((spentUsd ?? 0) + sum(costs));
    ms.push(Math.max(0, ...outcomes.map((outcome) => outcome.ms)));
  }
  const isKnown = ms.every((one) => !Number.isNaN(one));
  const quote = {
    costUsd: spentUsd === null ? null : rangeOf(usd),
    durationMs: isKnown ? rangeOf(ms, timesAre) : null,
  };
  return { quote, ms: isKnown ? ms : null };
}

function addUp(draws: readonly (readonly number[])[]): number[] {
  return Array.from({ length: DRAWS }, (_, at) => sum(draws.map((one) => one[at] ?? 0)));
}

function shareWithin(values: readonly number[] | null, most: number): number {
  return values ? values.filter((value) => value <= most).length / values.length : 0;
}
