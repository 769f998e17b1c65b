import { referenceTo } from "../shared/step-function.ts";
import type { WorkflowContext } from "../workflows/context.ts";
import { defineWorkflow } from "../workflows/workflow.ts";
import { isInformative, totalReward } from "./advantages.ts";
import { type Group, type GroupInput, groupInputSchema, groupSchema, type Sample } from "./group.ts";
import { playSample } from "./sample-turns.ts";
import { scoreSample } from "./score.ts";

/**
 * The workflow of a group: all samples of one prompt, each scored. Every call, tool and score is a step of the run, so that nothing
 * finished is paid for again, whoever is killed.
 */
export const rolloutGroup = defineWorkflow<GroupInput, Group>({
  name: "rollout-group",
  input: groupInputSchema,
  output: groupSchema,
  requires: ({ rewards, environment }) => [
    ...rewards.map(({ name }) => referenceTo({ kind: "reward", name })),
    ...(environment === undefined ? [] : [referenceTo({ kind: "environment", name: environment })]),
  ],
  run: async (ctx, input) => {
    const { group, row, prompt, resamples, rewards, epsilon } = input;
    const discarded: Sample[] = [];
    let samples = await playGroup(ctx, input, 0);
    for (let round = 1; round <= resamples; round++) {
      const totals = samples.map((sample) => totalReward(sample, rewards));
      if (isInformative(totals, epsilon)) break;
      discarded.push(...samples);
      samples = await playGroup(ctx, input, round);
    }
    return { group, row, prompt, samples, ...(discarded.length > 0 && { discarded }) };
  },
});

async function playGroup(ctx: WorkflowContext, input: GroupInput, round: number): Promise<Sample[]> {
  const first = Promise.withResolvers<void>();
  const places = Array.from({ length: input.samples }, (_, i) => round * input.samples + i);
  return Promise.all(
    places.map(async (place, i) => {
      if (i > 0 && input.keepsFirst) await first.promise;
      const played = await playSample(ctx, input, place, i === 0 ? first.resolve : () => {});
      return scoreSample(ctx, input, played, place);
    }),
  );
}
