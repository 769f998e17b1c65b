import { z } from "zod";
import { block } from "./block.ts";
import {
  type Ask,
  agent,
  type OnAgentError,
  onAgentError,
  type PatternInput,
  settleGroup,
} from "./pattern.ts";

/** The options of `treeOfThoughts`. */
export const thoughtTreeConfig = z.object({
  thinker: agent.describe("proposes thoughts, and writes the answer from the best line of them"),
  evaluator: agent.optional().describe("judges thoughts; default: the thinker"),
  branchingFactor: z.int().min(1).max(10).default(3).describe("most thoughts that follow on one"),
  maxDepth: z.int().min(1).max(20).default(3).describe("most thoughts in a line"),
  beamWidth: z.int().min(1).max(10).default(3).describe("thoughts of each depth that are thought on"),
  evaluationStrategy: z
    .enum(["score", "vote", "best_first"])
    .default("score")
    .describe(
      "score: each thought by itself, depth by depth; vote: those of one depth against each other, the beamWidth with the most votes go on, and none without a vote; best_first: each by itself, the best one of all is thought on",
    ),
  votes: z.int().min(1).max(10).default(3).describe("votes per depth, with evaluationStrategy vote"),
  pruneThreshold: z
    .number()
    .min(0)
    .max(1)
    .default(0.3)
    .describe("thoughts below this score are given up; not used with evaluationStrategy vote"),
  onAgentError,
});
export type ThoughtTreeInput = PatternInput<typeof thoughtTreeConfig>;

export interface Thought {
  id: number;
  parent: Thought | undefined;
  /** The number of thoughts in its line, from 1. */
  depth: number;
  text: string;
  isSolution: boolean;
  /** The score from 0 to 1, by vote its share of the votes; undefined when its evaluation failed. */
  score: number | undefined;
}
const scoreSchema = z.object({
  reason: z.string().describe("one sentence"),
  score: z.number().min(0).max(1).describe("how likely this line leads to a right solution"),
});

/** The calls of one search, and the tree that comes of them. */
export class ThoughtTree {
  readonly thoughts: Thought[] = [];
  expansions = 0;
  readonly #config: ThoughtTreeInput;
  readonly #ask: Ask;
  readonly #onAgentError: OnAgentError;

  constructor(config: ThoughtTreeInput, ask: Ask) {
    this.#config = config;
    this.#ask = ask;
    this.#onAgentError = config.onAgentError;
  }

  /** Returns the thoughts that follow on each of these; the root is undefined. */
  async expand(parents: readonly (Thought | undefined)[]): Promise<Thought[]> {
    const { thinker, branchingFactor } = this.#config;
    const thoughts = z
      .array(
        z.object({
          thought: z.string().min(1),
          isSolution: z.boolean().describe("true when the line of thoughts solves the problem with this one"),
        }),
      )
      .max(branchingFactor);
    const schema = z.object({ thoughts });
    this.expansions += parents.length;
    const proposed = parents.map(async (parent) => {
      const task = `Propose up to ${branchingFactor} different next thoughts, each one step towards a solution.`;
      const { thoughts } = await this.#ask.structured("propose", thinker, this.#say(task, parent), {
        schema,
      });
      return thoughts.map((thought) => ({ ...thought, parent }));
    });
    const groups = await settleGroup(this.#onAgentError, proposed);
    const children = groups.flatMap((group) => group ?? []);
    return children.map(({ thought: text, isSolution, parent }) => {
      const depth = (parent?.depth ?? 0) + 1;
      const thought = { id: this.thoughts.length + 1, parent, depth, text, isSolution, score: undefined };
      this.thoughts.push(thought);
      return thought;
    });
  }

  /** Returns the thoughts that are worth going on with, the best one first. */
  async select(thoughts: readonly Thought[]): Promise<Thought[]> {
    const { evaluationStrategy, pruneThreshold } = this.#config;
    const isVote = evaluationStrategy === "vote";
    await (isVote ? this.#vote(thoughts) : this.#score(thoughts.filter(({ score }) => score === undefined)));
    // A share of few votes on many thoughts says little: by vote their order counts.
    const isKept = (score: number) => (isVote ? score > 0 : score >= pruneThreshold);
    return thoughts.filter((thought) => isKept(scoreOf(thought))).sort(byScore);
  }

  /** Returns the answer to the problem, written from a line of thoughts. */
  answer(best: Thought | undefined): Promise<string> {
    const task = "Write the answer to the problem, following these thoughts where they are right.";
    return this.#ask("answer", this.#config.thinker, this.#say(best ? task : "Solve the problem.", best));
  }

  async #score(thoughts: readonly Thought[]): Promise<void> {
    const { evaluator, thinker } = this.#config;
    const task = "Judge how likely this line of thoughts leads to a right solution.";
    const scored = thoughts.map(async (thought) => {
      const question = this.#say(task, thought);
      const { score } = await this.#ask.structured("evaluate", evaluator ?? thinker, question, {
        schema: scoreSchema,
      });
      thought.score = score;
    });
    await settleGroup(this.#onAgentError, scored);
  }

  /** Scores thoughts by votes. Models favour places of a list: each vote is on a list that begins elsewhere. */
  async #vote(thoughts: readonly Thought[]): Promise<void> {
    const { evaluator, thinker, votes } = this.#config;
    const [only] = thoughts;
    if (!only) return;
    if (thoughts.length === 1) {
      only.score = 1;
      return;
    }
    const schema = z.object({
      reason: z.string().describe("one sentence"),
      best: z.int().min(1).max(thoughts.length).describe("number of the most promising line"),
    });
    const cast = Array.from({ length: votes }, async (_, vote) => {
      const first = Math.floor((vote * thoughts.length) / votes);
      const ballot = [...thoughts.slice(first), ...thoughts.slice(0, first)];
      const lines = ballot.map((thought, n) => block("line", lineOf(thought), { number: n + 1 }));
      const question = `${this.#say("Decide which line of thoughts is the most promising.")}\n\n${lines.join("\n")}`;
      const who = evaluator ?? thinker;
      return ballot[(await this.#ask.structured("vote", who, question, { schema })).best - 1];
    });
    const chosen = (await settleGroup(this.#onAgentError, cast)).filter((thought) => thought !== undefined);
    for (const thought of thoughts) {
      thought.score = chosen.filter((one) => one === thought).length / chosen.length;
    }
  }

  #say(task: string, thought?: Thought): string {
    const soFar = thought ? [block("thoughts", lineOf(thought))] : [];
    return [task, block("problem", this.#config.input), ...soFar].join("\n\n");
  }
}

/** Returns the thoughts from the first one to this one. */
export function pathTo(thought: Thought | undefined): Thought[] {
  return thought ? [...pathTo(thought.parent), thought] : [];
}

function lineOf(thought: Thought): string {
  return pathTo(thought)
    .map(({ text }, n) => `${n + 1}. ${text}`)
    .join("\n");
}

function scoreOf({ score }: Thought): number {
  return score ?? -1;
}

/** Compares thoughts, the best one first; of equals the earlier one, as sorting is stable. */
export function byScore(a: Thought, b: Thought): number {
  return scoreOf(b) - scoreOf(a);
}
