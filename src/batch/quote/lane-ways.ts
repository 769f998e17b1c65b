import { hasBatches } from "../../providers/batches/create-batches.ts";
import { hasFlex } from "../../providers/flex.ts";
import { LANE_PRICE_SHARE } from "../../shared/cost.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import type { Settings } from "../../shared/settings.ts";
import type { LaneOutlook } from "../lanes/lane-outlook.ts";
import { batchTimes } from "./lane-times.ts";
import type { ModelDraws } from "./model-draws.ts";

/** What becomes of a model's rows in one draw: the share of the full price that is paid, and how long they take. */
export type Way = (draw: number) => { priceShare: number; ms: number };

interface Site {
  settings: Settings;
  random: () => number;
  /** How long the model's latest provider batches took. */
  seenOf: (modelKey: string) => readonly number[];
}

/** All rows by single calls. */
export function onlineWay({ onlineMs }: ModelDraws): Way {
  return (draw) => ({ priceShare: 1, ms: onlineMs[draw] ?? 0 });
}

/** All rows in the tier flex: how long that takes nobody knows. Undefined where the model has it not. */
export function discounted({ model }: ModelDraws, { settings }: Site): Way | undefined {
  const entry = entryOf(settings, model);
  if (!entry || !hasFlex(entry)) return undefined;
  return () => ({ priceShare: LANE_PRICE_SHARE, ms: Number.NaN });
}

/** All rows in provider batches, however long these take. Undefined where the model has none. */
export function batchWay(draws: ModelDraws, { settings, seenOf, random }: Site): Way | undefined {
  const entry = entryOf(settings, draws.model);
  if (!entry || !hasBatches(entry)) return undefined;
  const times = batchTimes(draws.rows, seenOf(draws.model.key), random);
  return () => ({ priceShare: LANE_PRICE_SHARE, ms: Math.max(0, ...times()) });
}

/** As the lanes of a batch with a deadline buy them: provider batches that are late are given up, and their rows go another way. */
export function byWay(draws: ModelDraws, { seenOf, random }: Site, outlook: LaneOutlook): Way {
  const { model, rows, onlineMs } = draws;
  const flexShare = outlook.flexUntil(model) === undefined ? 1 : LANE_PRICE_SHARE;
  if (!outlook.wants(model)) return (draw) => ({ priceShare: flexShare, ms: onlineMs[draw] ?? 0 });
  const timeMs = outlook.batchEndsAt(model) - Date.now();
  const times = batchTimes(rows, seenOf(model.key), random);
  return (draw) => {
    const groups = times();
    const inTime = groups.filter((ms) => ms <= timeMs);
    const late = groups.length === 0 ? 0 : 1 - inTime.length / groups.length;
    const ms = late > 0 ? timeMs + late * (onlineMs[draw] ?? 0) : Math.max(0, ...inTime);
    return { priceShare: (1 - late) * LANE_PRICE_SHARE + late * flexShare, ms };
  };
}

function entryOf({ providers }: Settings, { entry }: ModelRef) {
  return providers[entry];
}
