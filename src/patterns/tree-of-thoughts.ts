import { definePattern } from "./pattern.ts";
import {
  byScore,
  pathTo,
  type Thought,
  ThoughtTree,
  type ThoughtTreeInput,
  thoughtTreeConfig,
} from "./thought-tree.ts";

type StopReason = "solved" | "max_depth" | "max_expansions" | "pruned";
interface Found {
  best: Thought | undefined;
  stopReason: StopReason;
}

/** Searches depth by depth: the best `beamWidth` go on, and solutions stay among them. */
async function breadthFirst(tree: ThoughtTree, { beamWidth, maxDepth }: ThoughtTreeInput): Promise<Found> {
  let beam: (Thought | undefined)[] = [undefined];
  for (let depth = 1; depth <= maxDepth; depth++) {
    const solutions = beam.filter((thought) => thought?.isSolution) as Thought[];
    const open = beam.filter((thought) => !thought?.isSolution);
    beam = (await tree.select([...solutions, ...(await tree.expand(open))])).slice(0, beamWidth);
    if (beam.length === 0) return { best: tree.thoughts.toSorted(byScore)[0], stopReason: "pruned" };
    if (beam.every((thought) => thought?.isSolution)) return { best: beam[0], stopReason: "solved" };
  }
  return { best: beam[0], stopReason: "max_depth" };
}

/** Searches from the best thought that any line has come to, until it is a solution or as deep as allowed. */
async function bestFirst(tree: ThoughtTree, { beamWidth, maxDepth }: ThoughtTreeInput): Promise<Found> {
  const maxExpansions = 1 + beamWidth * (maxDepth - 1);
  let frontier = await tree.select(await tree.expand([undefined]));
  for (;;) {
    const [best, ...others] = frontier;
    if (!best) return { best: tree.thoughts.toSorted(byScore)[0], stopReason: "pruned" };
    if (best.isSolution) return { best, stopReason: "solved" };
    if (best.depth === maxDepth) return { best, stopReason: "max_depth" };
    if (tree.expansions === maxExpansions) return { best, stopReason: "max_expansions" };
    frontier = [...(await tree.select(await tree.expand([best]))), ...others].sort(byScore);
  }
}

/**
 * The pattern that proposes several next thoughts at each place and judges them before it follows any, so that wrong
 * turns are left early.
 */
export const treeOfThoughts = definePattern({
  name: "tree-of-thoughts",
  when: "A first step can look right and be wrong: puzzles, plans, proofs.",
  calls:
    "(1 + beamWidth × (maxDepth − 1)) × (1 + branchingFactor) + 1 at most; by vote: 1 + beamWidth × (maxDepth − 1) + votes × maxDepth + 1",
  source: 'Yao and others, "Tree of Thoughts: Deliberate Problem Solving with Large Language Models", 2023',
  config: thoughtTreeConfig,
  async run(_ctx, config, ask) {
    const tree = new ThoughtTree(config, ask);
    const { best, stopReason } = await (config.evaluationStrategy === "best_first"
      ? bestFirst(tree, config)
      : breadthFirst(tree, config));
    const { thoughts, expansions } = tree;
    return {
      finalOutput: await tree.answer(best),
      iterations: Math.max(0, ...thoughts.map(({ depth }) => depth)),
      metadata: {
        stopReason,
        expansions,
        bestLine: pathTo(best).map(({ id }) => id),
        bestScore: best?.score ?? null,
        thoughts: thoughts.map(({ parent, score, ...thought }) => ({
          ...thought,
          parent: parent?.id ?? null,
          score: score ?? null,
        })),
      },
    };
  },
});
