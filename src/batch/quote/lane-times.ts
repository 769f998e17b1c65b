import { limitsOf, type StatedLimits } from "../../shared/budget.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import { GROUP_ROWS } from "../lanes/lane-groups.ts";
import { chanceWithin } from "../lanes/lane-plan.ts";
import { DRAWS, drawSums } from "./draws.ts";

const MINUTE_MS = 60_000;
/** Providers end a batch after so long. */
const WINDOW_MS = 24 * 60 * MINUTE_MS;
const STEPS = 200;
/** The longest of more batches than this is hardly longer. */
const MAX_GROUPS = 50;

interface Rest {
  model: ModelRef;
  rows: number;
  prompt: number;
  completion: readonly number[];
}

interface Pace {
  latenciesMs: readonly number[];
  callsAtATime: number;
  limits: { settings: Settings; learned: ReadonlyMap<string, StatedLimits> };
  random: () => number;
}

/**
 * Returns draws of how long a model's rows left take online, in milliseconds: by the latency of the sample at so many calls at a
 * time, or by the account's limits, whichever is longer.
 */
export function onlineTimes({ model, rows, prompt, completion }: Rest, pace: Pace): number[] {
  if (rows === 0) return Array(DRAWS).fill(0);
  const { latenciesMs, callsAtATime, random } = pace;
  const limits = limitsOf(pace.limits.settings.limits, pace.limits.learned, model.key);
  const minutes = (amount: number, name: keyof StatedLimits) =>
    amount / (limits[name]?.perMinute ?? Number.POSITIVE_INFINITY);
  const last = Math.max(0, ...latenciesMs);
  return drawSums(latenciesMs, rows, random).map((sumMs, at) => {
    const answer = completion[at] ?? 0;
    const limited = Math.max(
      minutes(rows, "rpm"),
      minutes(prompt + answer, "tpm"),
      minutes(prompt, "itpm"),
      minutes(answer, "otpm"),
    );
    return Math.max(Math.max(0, sumMs) / Math.min(callsAtATime, rows), limited * MINUTE_MS) + last;
  });
}

/**
 * Returns what draws how long each provider batch of a model's rows left takes, in milliseconds.
 * @param seen how long the model's latest batches took, see `chanceWithin`
 */
export function batchTimes(rows: number, seen: readonly number[], random: () => number): () => number[] {
  // From a second to a day, evenly on a logarithmic scale.
  const times = Array.from({ length: STEPS + 1 }, (_, step) => 1000 * (WINDOW_MS / 1000) ** (step / STEPS));
  const chances = times.map((ms) => chanceWithin(ms, seen));
  const draw = () => {
    const lot = random();
    return times[chances.findIndex((chance) => chance >= lot)] ?? WINDOW_MS;
  };
  const groups = Math.min(MAX_GROUPS, Math.ceil(rows / GROUP_ROWS));
  return () => Array.from({ length: groups }, draw);
}
