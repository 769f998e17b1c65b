import { z } from "zod";
import { checkWith } from "../shared/schema-check.ts";
import { referenceTo } from "../shared/step-function.ts";
import type { WorkflowContext } from "../workflows/context.ts";
import { block } from "./block.ts";
import { type Ask, agent, definePattern, onAgentError, settleGroup } from "./pattern.ts";

const critic = z.object({
  agent: agent.describe("judges the draft"),
  specialty: z
    .string()
    .regex(/^[^#/\n]{1,80}$/, "must be up to 80 characters without # and /")
    .describe("what it looks at; names its steps"),
  goal: z.string().min(1).describe("what the draft has to achieve in this respect"),
  weight: z.number().positive().default(1).describe("of its score in the mean"),
});

const config = z.object({
  producer: agent.describe("writes the draft and revises it"),
  critics: z.array(critic).min(1, "must have at least one critic").describe("judge side by side"),
  maxIterations: z.int().min(1).default(3).describe("drafts in all"),
  minQualityScore: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("ends it: the score, 0 to 1, of a draft; default none"),
  convergenceThreshold: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      "ends it: a gain of score over the draft before that is smaller; 0: a loss alone; default none",
    ),
  qualityEvaluator: z
    .string()
    .min(1)
    .optional()
    .describe("name of an evaluator, whose score stands in place of the critics' mean"),
  onAgentError,
});
type RefinementConfig = z.output<typeof config>;

const critiqueSchema = z.object({
  score: z.number().min(0).max(1).describe("0: misses the goal entirely; 1: nothing to improve"),
  issues: z.array(z.string()).describe("what is wrong, each with its place in the draft"),
  suggestions: z.array(z.string()).describe("what to change"),
});

type Critic = z.output<typeof critic>;
type Critique = Omit<Critic, "agent"> & z.infer<typeof critiqueSchema>;

/**
 * The pattern in which a producer writes, critics with a specialty each judge side by side, and the producer revises,
 * until the draft is good enough, gets no better, or the iterations are used up. The result is the draft with the best
 * score.
 */
export const iterativeRefinement = definePattern({
  name: "iterative-refinement",
  when: "The result has to meet goals that critics can judge, and is worth several drafts.",
  calls: "iterations × (1 + critics), iterations ≤ maxIterations",
  source: "Madaan et al. (2023), Self-Refine: Iterative Refinement with Self-Feedback",
  config,
  requires: ({ qualityEvaluator }) => (qualityEvaluator ? [evaluatorReference(qualityEvaluator)] : []),
  async run(ctx, { input, ...config }, ask) {
    const { producer } = config;
    const drafts = [await ask("draft", producer, input)];
    const scores: number[] = [];
    const criticScores: Pick<Critique, "specialty" | "score">[][] = [];
    for (;;) {
      const [draft = ""] = drafts.slice(-1);
      const critiques = await criticise(ask, config, input, draft);
      criticScores.push(critiques.map(({ specialty, score }) => ({ specialty, score })));
      scores.push(await scoreOf(ctx, config, { input, output: draft }, critiques));
      const stopReason = stopReasonOf(config, scores);
      if (stopReason) {
        const best = scores.indexOf(Math.max(...scores));
        const metadata = { stopReason, scores, criticScores, bestIteration: best + 1 };
        return { finalOutput: drafts[best] ?? draft, iterations: drafts.length, metadata };
      }
      drafts.push(await ask("revision", producer, revisionPrompt(input, draft, critiques)));
    }
  },
});

async function criticise(
  ask: Ask,
  { critics, onAgentError }: RefinementConfig,
  input: string,
  draft: string,
): Promise<Critique[]> {
  const critiques = critics.map(async (critic) => {
    const { agent, ...known } = critic;
    const prompt = critiquePrompt(input, draft, critic);
    const stage = `critique ${critic.specialty}`;
    return { ...known, ...(await ask.structured(stage, agent, prompt, { schema: critiqueSchema })) };
  });
  return (await settleGroup(onAgentError, critiques)).filter((critique) => critique !== undefined);
}

/**
 * Returns the weighted mean of the critics' scores, or the evaluator's.
 * @throws InputError for a score that is none.
 */
async function scoreOf(
  ctx: WorkflowContext,
  { qualityEvaluator }: RefinementConfig,
  subject: { input: string; output: string },
  critiques: readonly Critique[],
): Promise<number> {
  if (qualityEvaluator) {
    const given = await ctx.call("score", evaluatorReference(qualityEvaluator), subject);
    return checkWith(critiqueSchema.shape.score, given, `the score of evaluator "${qualityEvaluator}"`);
  }
  const sumOf = (value: (critique: Critique) => number) =>
    critiques.reduce((sum, one) => sum + value(one), 0);
  return rounded(sumOf(({ score, weight }) => score * weight) / sumOf(({ weight }) => weight));
}

function evaluatorReference(name: string): string {
  return referenceTo({ kind: "evaluator", name });
}

/** Returns a score without the errors of floats, so that 0.82 - 0.8 is a gain of 0.02. */
function rounded(score: number): number {
  return Math.round(score * 1e6) / 1e6;
}

function stopReasonOf(config: RefinementConfig, scores: readonly number[]): string | undefined {
  const { maxIterations, minQualityScore = Number.POSITIVE_INFINITY } = config;
  const { convergenceThreshold = Number.NEGATIVE_INFINITY } = config;
  const [score = 0, before] = scores.toReversed();
  if (score >= minQualityScore) return "quality";
  if (before !== undefined && rounded(score - before) < convergenceThreshold) return "converged";
  return scores.length >= maxIterations ? "max_iterations" : undefined;
}

function critiquePrompt(task: string, draft: string, { specialty, goal }: Critic): string {
  const order = `Judge the draft for one thing: ${specialty}. Goal: ${goal}`;
  return [order, block("task", task), block("draft", draft)].join("\n\n");
}

function revisionPrompt(task: string, draft: string, critiques: readonly Critique[]): string {
  return [
    "Revise the draft by the critiques. Answer with the whole revised text alone.",
    block("task", task),
    block("draft", draft),
    ...critiques.map(asText),
  ].join("\n\n");
}

function asText({ specialty, goal, score, issues, suggestions }: Critique): string {
  const lines = [`${specialty}: ${goal}`, `Score: ${score}`];
  lines.push(...issues.map((issue) => `Issue: ${issue}`));
  lines.push(...suggestions.map((suggestion) => `Suggestion: ${suggestion}`));
  return block("critique", lines.join("\n"));
}
