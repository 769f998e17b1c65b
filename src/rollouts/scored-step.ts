import { advantagesOf, deviation, isInformative, meanOf, type Scale, totalReward } from "./advantages.ts";
import type { Group, RolloutSpec, Sample } from "./group.ts";

/** What becomes of groups that teach nothing: their rewards are all equal, or there are fewer than two. */
export const UNINFORMATIVE = ["keep", "drop"] as const;

/** How scores become advantages, and which groups are exported. */
export interface ScoringOptions {
  scale: Scale;
  uninformative: (typeof UNINFORMATIVE)[number];
  /** The groups that a trainer would take a step with. */
  groupsPerStep: number;
}

export interface ScoredSample extends Sample {
  /** The weighted sum of its scores; null without any. */
  reward: number | null;
  /** Null without a reward, and in groups that are dropped. */
  advantage: number | null;
}

export interface ScoredGroup extends Omit<Group, "samples"> {
  samples: ScoredSample[];
  isInformative: boolean;
  isDropped: boolean;
}

export interface ScoredStep {
  /** From 0. */
  step: number;
  groups: ScoredGroup[];
}

/** Yields the groups in steps, with rewards and advantages; dropped groups count for no deviation of a step. */
export async function* scoredSteps(
  groups: AsyncIterable<Group>,
  { rewards, epsilon }: Pick<RolloutSpec, "rewards" | "epsilon">,
  { scale, uninformative, groupsPerStep }: ScoringOptions,
): AsyncGenerator<ScoredStep> {
  let step = 0;
  let taken: Group[] = [];
  const score = (some: readonly Group[]): ScoredStep => {
    const totals = some.map(({ samples }) => samples.map((sample) => totalReward(sample, rewards)));
    const informative = totals.map((values) => isInformative(values, epsilon));
    const isKept = informative.map((is) => is || uninformative === "keep");
    const kept = advantagesOf(
      totals.filter((_, i) => isKept[i]),
      scale,
    );
    const advantages = isKept.map((is) => (is ? kept.shift() : undefined));
    return {
      step: step++,
      groups: some.map((group, i) => ({
        ...group,
        isInformative: informative[i] ?? false,
        isDropped: !isKept[i],
        samples: group.samples.map((sample, j) => ({
          ...sample,
          reward: totals[i]?.[j] ?? null,
          advantage: advantages[i]?.[j] ?? null,
        })),
      })),
    };
  };
  for await (const group of groups) {
    taken.push(group);
    if (taken.length < groupsPerStep) continue;
    yield score(taken);
    taken = [];
  }
  if (taken.length > 0) yield score(taken);
}

/** Sums of a step, or of all of a rollout. */
export interface StepSums {
  step?: number;
  groups: number;
  /** Groups whose rewards differ. */
  informative: number;
  samples: number;
  /** Samples without an answer, or not with all of them. */
  failed: number;
  /** Samples that have no reward. */
  unscored: number;
  reward: { sum: number; mean: number; std: number };
  /** The mean of each reward, unweighted, over the samples that have it. */
  rewards: Record<string, { mean: number; scored: number }>;
  /** Tokens of the answers. */
  length: { sum: number; mean: number; max: number };
  /** Tokens of the requests, and those of them that came from the provider's prefix cache. */
  promptTokens: number;
  cachedTokens: number;
  /** USD of all samples, the discarded ones included; null when a price is missing. */
  costUsd: number | null;
  judgeCostUsd: number | null;
  /** Samples of tries that were sampled anew. */
  discarded: number;
}

/** Returns the sums of groups. */
export function sumsOf(groups: readonly ScoredGroup[], rewards: RolloutSpec["rewards"]): StepSums {
  const samples = groups.flatMap((group) => group.samples);
  const discarded = groups.flatMap((group) => group.discarded ?? []);
  const paid: readonly Sample[] = [...samples, ...discarded];
  const known = samples.flatMap(({ reward }) => (reward === null ? [] : reward));
  const lengths = samples.map(({ tokens }) => tokens.completion);
  return {
    groups: groups.length,
    informative: groups.filter((group) => group.isInformative).length,
    samples: samples.length,
    failed: samples.filter(({ error }) => error).length,
    unscored: samples.length - known.length,
    reward: { sum: sum(known), mean: meanOf(known), std: deviation(known) },
    rewards: Object.fromEntries(
      rewards.map(({ name }) => {
        const scores = samples.flatMap((sample) => sample.rewards[name] ?? []);
        return [name, { mean: meanOf(scores), scored: scores.length }];
      }),
    ),
    length: { sum: sum(lengths), mean: meanOf(lengths), max: lengths.reduce((a, b) => Math.max(a, b), 0) },
    promptTokens: sum(paid.map(({ tokens }) => tokens.prompt)),
    cachedTokens: sum(paid.map(({ tokens }) => tokens.cached)),
    costUsd: knownSum(paid.map(({ costUsd }) => costUsd)),
    judgeCostUsd: knownSum(paid.map(({ judgeCostUsd }) => judgeCostUsd)),
    discarded: discarded.length,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function knownSum(values: readonly (number | null)[]): number | null {
  return values.some((value) => value === null) ? null : sum(values as readonly number[]);
}
