import { z } from "zod";
import type { AgentSpec } from "../shared/agent.ts";
import type { WorkflowContext } from "../workflows/context.ts";
import { block } from "./block.ts";
import { type Ask, agent } from "./pattern.ts";

export const expert = z.object({
  agent: agent.describe("answers"),
  specialty: z.string().min(1, "must not be empty").max(200).describe("its field, unique"),
  description: z.string().default("").describe("what it knows; the coordinator and the embeddings go by it"),
  activationKeywords: z
    .array(z.string().trim().min(1, "must not be empty"))
    .default([])
    .describe("words or phrases that call for it, whatever their case"),
});
export type Expert = z.output<typeof expert>;

/** The experts that are asked, the most fitting first. */
export interface Route {
  chosen: readonly Expert[];
  /** The scores by specialty, where the routing has any. */
  scores?: Record<string, number>;
  /** Whether nothing fitted, and all are asked. */
  isFallback?: boolean;
}

/** Returns the experts of whose keywords the input has any, by how many; all when there are none such. */
export function routeByKeyword(experts: readonly Expert[], input: string): Route {
  const counts = experts.map(
    ({ activationKeywords }) => activationKeywords.filter((keyword) => hasWord(input, keyword)).length,
  );
  const matched = best(experts, counts, experts.length).filter(
    (expert) => (counts[experts.indexOf(expert)] ?? 0) > 0,
  );
  const scores = scoresOf(experts, counts);
  return matched.length > 0 ? { chosen: matched, scores } : { chosen: experts, scores, isFallback: true };
}

/** Returns the topK experts that the coordinator scores highest. */
export async function routeByScore(
  config: { experts: readonly Expert[]; topK: number; coordinator: AgentSpec; input: string },
  ask: Ask,
): Promise<Route> {
  const { experts, topK, coordinator, input } = config;
  const score = z.object({
    expert: z.int().min(1).max(experts.length).describe("its number"),
    score: z.number().min(0).max(1),
  });
  const schema = z.object({ scores: z.array(score).describe("one of each expert") });
  const listed = experts.map(({ specialty, description }, n) =>
    block("expert", `${specialty}${description && `: ${description}`}`, { number: n + 1 }),
  );
  const task = "Score for each expert from 0 to 1 how well it fits the question.";
  const message = [task, block("question", input), ...listed].join("\n\n");
  const given = await ask.structured("route", coordinator, message, { schema });
  const scores = experts.map((_, n) => given.scores.find(({ expert }) => expert === n + 1)?.score ?? 0);
  return { chosen: best(experts, scores, topK), scores: scoresOf(experts, scores) };
}

/** Returns the topK experts whose words are nearest to the input's, by the cosine of their vectors. */
export async function routeByEmbedding(
  ctx: WorkflowContext,
  config: { experts: readonly Expert[]; topK: number; input: string; embeddingModel?: string | undefined },
): Promise<Route> {
  const { experts, topK, input, embeddingModel: model = "" } = config;
  const texts = experts.map(({ specialty, description, activationKeywords }) =>
    [specialty, description, ...activationKeywords].filter(Boolean).join("\n"),
  );
  const [asked = [], ...vectors] = await ctx.embed("embed", [input, ...texts], { model });
  const scores = vectors.map((vector) => cosine(asked, vector));
  return { chosen: best(experts, scores, topK), scores: scoresOf(experts, scores) };
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const product = a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
  return product / (Math.hypot(...a) * Math.hypot(...b) || 1);
}

/** Returns the experts with the highest scores; of equals the earlier one. */
function best(experts: readonly Expert[], scores: readonly number[], count: number): Expert[] {
  const order = experts.map((expert, n) => ({ expert, score: scores[n] ?? 0 }));
  return order
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .map(({ expert }) => expert);
}

function scoresOf(experts: readonly Expert[], scores: readonly number[]): Record<string, number> {
  return Object.fromEntries(experts.map(({ specialty }, n) => [specialty, scores[n] ?? 0]));
}

/** Returns whether a text has a word: "tax" is in "Tax, please", and not in "taxi". */
function hasWord(text: string, word: string): boolean {
  const escaped = word.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return new RegExp(`(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`, "iu").test(text);
}
