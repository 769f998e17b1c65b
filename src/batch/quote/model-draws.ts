import type { StatedLimits } from "../../shared/budget.ts";
import { costUsd } from "../../shared/cost.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import { modelsOf } from "../row-models.ts";
import { drawSums } from "./draws.ts";
import { onlineTimes } from "./lane-times.ts";
import type { ModelSample } from "./sample.ts";

const UNIT_TOKENS = 1000;

/** What draws hang on beside the sample. */
export interface DrawBasis {
  settings: Settings;
  /** What the fleet has learned of limits, by budget id. */
  learned: ReadonlyMap<string, StatedLimits>;
  /** How long calls of the sample took. */
  latenciesMs: readonly number[];
  /** Calls of a model at a time, of all worker processes. */
  callsAtATime: number;
}

/** Draws of what a model's rows left come to. */
export interface ModelDraws {
  model: ModelRef;
  rows: number;
  /** Of their prompts, which hardly vary. */
  prompt: number;
  completion: readonly number[];
  /** At the price of single calls; undefined: nobody knows it. */
  usd: readonly number[] | undefined;
  onlineMs: readonly number[];
}

/** Draws what a model's rows left come to. */
export function drawModel(
  { model, restRows, restAsked, sample }: ModelSample,
  { settings, latenciesMs, callsAtATime, learned }: DrawBasis,
  random: () => number,
): ModelDraws {
  const asked = sum(sample.map((row) => row.asked));
  const answered = sum(sample.map((row) => row.prompt));
  // Of each token of the guess so many were charged for.
  const ratio = asked > 0 && answered > 0 ? answered / asked : 1;
  const prompt = ratio * restAsked;
  const completion = drawSums(
    sample.map((row) => row.completion),
    restRows,
    random,
  ).map(notNegative);
  const unitUsd = promptUnitUsd(settings, model);
  // What varies: the answer's cost, and by how much the guess at the prompt was wrong.
  const beside = sample.map((row) => (row.costUsd ?? 0) - (unitUsd ?? 0) * ratio * row.asked);
  const isPriced = unitUsd !== undefined && sample.every((row) => row.costUsd !== null);
  const usd = isPriced
    ? drawSums(beside, restRows, random).map((rest) => notNegative(rest + unitUsd * prompt))
    : undefined;
  const pace = { latenciesMs, callsAtATime, limits: { settings, learned }, random };
  const onlineMs = onlineTimes({ model, rows: restRows, prompt, completion }, pace);
  return { model, rows: restRows, prompt, completion, usd, onlineMs };
}

/** Returns the price of a prompt's token in USD; undefined: no price is known. */
function promptUnitUsd(settings: Settings, model: ModelRef): number | undefined {
  const use = { prompt: UNIT_TOKENS, completion: 0, total: UNIT_TOKENS, cached: 0 };
  const usd = costUsd(settings.prices, modelsOf(settings, model).model, use);
  return usd === null ? undefined : usd / UNIT_TOKENS;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

const notNegative = (value: number) => Math.max(0, value);
