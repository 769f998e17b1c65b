import { z } from "zod";
import { toScore } from "../shared/reward.ts";
import { referenceTo } from "../shared/step-function.ts";
import type { WorkflowContext } from "../workflows/context.ts";
import type { GroupInput, RewardSpec, Sample } from "./group.ts";
import { faultOf, type Sampled, seenSample } from "./sample-turns.ts";

const verdictSchema = z.object({
  reason: z.string().describe("in one or two sentences"),
  score: z.number().nullable().describe("null when it cannot be said"),
});

/** One reward's word on a sample. */
type Outcome = {
  score: number | null;
  reason?: string;
  costUsd: number | null;
  fault?: ReturnType<typeof faultOf>;
};

/** Returns a sample with its scores, each a recorded step. One that fails is null, and says why; a sample without an answer has none. */
export async function scoreSample(
  ctx: WorkflowContext,
  input: GroupInput,
  played: Sampled,
  place: number,
): Promise<Sample> {
  const outcomes = await Promise.all(
    input.rewards.map(
      async (reward) => [reward.name, await outcomeOf(ctx, input, played, place, reward)] as const,
    ),
  );
  return { ...played, ...scoresOf(outcomes) };
}

function scoresOf(outcomes: readonly (readonly [string, Outcome])[]) {
  const faults = outcomes.flatMap(([name, { fault }]) => (fault ? [[name, fault] as const] : []));
  const reasons = outcomes.flatMap(([name, { reason }]) => (reason ? [[name, reason] as const] : []));
  return {
    rewards: Object.fromEntries(outcomes.map(([name, { score }]) => [name, score])),
    judgeCostUsd: outcomes.reduce<number | null>(
      (sum, [, { costUsd }]) => (sum === null || costUsd === null ? null : sum + costUsd),
      0,
    ),
    ...(faults.length > 0 && { rewardErrors: Object.fromEntries(faults) }),
    ...(reasons.length > 0 && { reasons: Object.fromEntries(reasons) }),
  };
}

async function outcomeOf(
  ctx: WorkflowContext,
  input: GroupInput,
  played: Sampled,
  place: number,
  { name, timeoutMs, judgeModel }: RewardSpec,
): Promise<Outcome> {
  if (played.error) return { score: null, costUsd: 0 };
  const reference = referenceTo({ kind: "reward", name });
  // A reward that changes what it is given must not change what is kept.
  const seen = structuredClone(seenSample(input, played));
  try {
    const said = await ctx.call<unknown>(`reward ${place} ${name}`, reference, seen, { timeoutMs });
    if (judgeModel === undefined) return { score: toScore(name, said), costUsd: 0 };
    const options = { model: judgeModel, schema: verdictSchema, temperature: 0, cache: false };
    const { output, costUsd } = await ctx.complete(`judge ${place} ${name}`, String(said), options);
    return { score: toScore(name, output.score), reason: output.reason, costUsd };
  } catch (error) {
    return { score: null, costUsd: 0, fault: faultOf(error) };
  }
}
