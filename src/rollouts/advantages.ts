import type { RewardSpec, Sample } from "./group.ts";

/** The deviation by which the distance of a reward from its group's mean is divided: that of its group, of all, or none. */
export const SCALES = ["group", "batch", "none"] as const;
export type Scale = (typeof SCALES)[number];

/** Keeps a division by a small deviation from growing without bound; the value of TRL's GRPOTrainer. */
const EPSILON = 1e-4;

/** Returns the weighted sum of a sample's scores; null when it has none. A null score counts for nothing. */
export function totalReward(
  { rewards }: Pick<Sample, "rewards">,
  specs: readonly Pick<RewardSpec, "name" | "weight">[],
): number | null {
  const scored = specs.flatMap(({ name, weight }) => {
    const score = rewards[name];
    return score === null || score === undefined ? [] : weight * score;
  });
  return scored.length > 0 ? scored.reduce((sum, one) => sum + one, 0) : null;
}

/** Whether a group's rewards say which of its samples are better: two of them differ by more than `epsilon`. */
export function isInformative(rewards: readonly (number | null)[], epsilon: number): boolean {
  const known = rewards.filter((reward) => reward !== null);
  return known.length > 1 && Math.max(...known) - Math.min(...known) > epsilon;
}

/**
 * Returns the advantages of the samples of several groups, group by group: `(r − mean) / (std + 1e-4)`, where the mean is the
 * group's, and the deviation (with Bessel's correction) the group's or that of all groups; with `none` it is not divided. A
 * sample without a reward has none, and counts for neither.
 */
export function advantagesOf(
  groups: readonly (readonly (number | null)[])[],
  scale: Scale,
): (number | null)[][] {
  const batchStd = scale === "batch" ? deviation(groups.flat()) : 0;
  return groups.map((rewards) => {
    const mean = meanOf(rewards.filter((reward) => reward !== null));
    const divisor = {
      group: () => deviation(rewards) + EPSILON,
      batch: () => batchStd + EPSILON,
      none: () => 1,
    };
    const by = divisor[scale]();
    return rewards.map((reward) => (reward === null ? null : (reward - mean) / by));
  });
}

export function meanOf(values: readonly number[]): number {
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

/** Returns the standard deviation with Bessel's correction; 0 for fewer than two values. */
export function deviation(values: readonly (number | null)[]): number {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return 0;
  const mean = meanOf(known);
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (known.length - 1));
}
