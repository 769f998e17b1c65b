import { z } from "zod";
import type { WorkflowContext } from "../workflows/context.ts";
import { block } from "./block.ts";
import {
  type Expert,
  expert,
  type Route,
  routeByEmbedding,
  routeByKeyword,
  routeByScore,
} from "./expert-routing.ts";
import { type Ask, agent, definePattern, onAgentError, type PatternInput, settleGroup } from "./pattern.ts";

const config = z.object({
  experts: z.array(expert).min(2, "must have at least two experts").max(100).describe("who may be asked"),
  routingStrategy: z
    .enum(["keyword", "semantic", "all", "top_k"])
    .default("keyword")
    .describe(
      "keyword: experts whose keywords the input has, or all when none has; semantic: the topK nearest to the input by embeddings; all; top_k: the topK that the coordinator finds the most fitting",
    ),
  topK: z.int().min(1).default(2).describe("experts asked, with routingStrategy top_k and semantic"),
  combineStrategy: z
    .enum(["synthesize", "concatenate", "vote"])
    .default("synthesize")
    .describe(
      "synthesize: the coordinator makes one answer of theirs; concatenate: one after the other; vote: the experts who answered choose the best answer",
    ),
  coordinator: agent
    .default({ name: "coordinator", description: "" })
    .describe("routes and synthesizes; default: the default model"),
  embeddingModel: z.string().optional().describe("of routingStrategy semantic, which needs it"),
  onAgentError,
});
type ExpertsInput = PatternInput<typeof config>;

interface ExpertAnswer {
  expert: Expert;
  text: string;
}

/**
 * The pattern that asks the experts whom the input concerns, side by side, and makes one answer of theirs. A single
 * answer is neither synthesized nor voted on.
 */
export const mixtureOfExperts = definePattern({
  name: "mixture-of-experts",
  when: "Questions are of different fields, each with an agent that knows it best.",
  calls:
    "k, the experts asked; + 1 to route by top_k (semantic: + 1 embeddings call); + 1 to synthesize, or + k to vote, when k > 1",
  source: 'Jacobs and others, "Adaptive Mixtures of Local Experts", 1991, with agents as the experts',
  config,
  check({ experts, routingStrategy, topK, embeddingModel }, refuse) {
    const twice = experts.findIndex(({ specialty }, i) =>
      experts.some((other, n) => n < i && other.specialty === specialty),
    );
    if (twice >= 0) refuse(`experts.${twice}.specialty`, "is the specialty of an earlier expert");
    const takesTopK = routingStrategy === "top_k" || routingStrategy === "semantic";
    if (takesTopK && topK > experts.length) refuse("topK", `is more than the ${experts.length} experts`);
    if (
      routingStrategy === "keyword" &&
      experts.every(({ activationKeywords }) => !activationKeywords.length)
    )
      refuse("experts.0.activationKeywords", "routingStrategy keyword needs some");
    if (routingStrategy === "semantic" && !embeddingModel)
      refuse("embeddingModel", "is needed for routingStrategy semantic");
  },
  async run(ctx, config, ask) {
    const { chosen, ...routing } = await route(ctx, config, ask);
    const asked = chosen.map(async (expert) => ({
      expert,
      text: await ask("expert", expert.agent, questionTo(expert, config.input)),
    }));
    const answers = (await settleGroup(config.onAgentError, asked)).filter((answer) => answer !== undefined);
    const { finalOutput, votes } = await combine(config, answers, ask);
    return {
      finalOutput,
      iterations: 1,
      metadata: {
        ...routing,
        asked: chosen.map(({ specialty }) => specialty),
        answered: answers.map(({ expert }) => expert.specialty),
        ...(votes && { votes }),
      },
    };
  },
});

function route(ctx: WorkflowContext, config: ExpertsInput, ask: Ask): Promise<Route> | Route {
  switch (config.routingStrategy) {
    case "all":
      return { chosen: config.experts };
    case "keyword":
      return routeByKeyword(config.experts, config.input);
    case "top_k":
      return routeByScore(config, ask);
    case "semantic":
      return routeByEmbedding(ctx, config);
  }
}

function questionTo({ specialty }: Expert, input: string): string {
  const task = "Answer as the expert for this specialty, and say where the question goes beyond it.";
  return [task, block("specialty", specialty), block("question", input)].join("\n\n");
}

async function combine(
  config: ExpertsInput,
  answers: readonly ExpertAnswer[],
  ask: Ask,
): Promise<{ finalOutput: string; votes?: Record<string, number> }> {
  const [first] = answers;
  if (first && answers.length === 1) return { finalOutput: first.text };
  switch (config.combineStrategy) {
    case "concatenate":
      return {
        finalOutput: answers.map(({ expert, text }) => `## ${expert.specialty}\n\n${text}`).join("\n\n"),
      };
    case "synthesize": {
      const task = "Make one answer of the experts' answers. Say where they contradict each other.";
      return {
        finalOutput: await ask("synthesize", config.coordinator, `${task}\n\n${shown(config, answers)}`),
      };
    }
    case "vote":
      return vote(config, answers, ask);
  }
}

/** Returns the answer with the most votes; of equal ones that of the expert who was routed to first. */
async function vote(config: ExpertsInput, answers: readonly ExpertAnswer[], ask: Ask) {
  const question = `Choose the best answer to the question: right, complete, to the point.\n\n${shown(config, answers)}`;
  const schema = z.object({
    reason: z.string().describe("one sentence"),
    best: z.int().min(1).max(answers.length).describe("number of the best answer"),
  });
  const cast = answers.map(
    async ({ expert }) => (await ask.structured("vote", expert.agent, question, { schema })).best - 1,
  );
  const chosen = (await settleGroup(config.onAgentError, cast)).filter((best) => best !== undefined);
  const counts = answers.map((_, n) => chosen.filter((best) => best === n).length);
  const winner = answers[counts.indexOf(Math.max(...counts))];
  const votes = Object.fromEntries(answers.map(({ expert }, n) => [expert.specialty, counts[n] ?? 0]));
  return { finalOutput: winner?.text ?? "", votes };
}

function shown({ input }: ExpertsInput, answers: readonly ExpertAnswer[]): string {
  const listed = answers.map(({ expert, text }, n) =>
    block("answer", text, { number: n + 1, specialty: expert.specialty }),
  );
  return [block("question", input), ...listed].join("\n\n");
}
