import { chainOfDensity } from "./chain-of-density.ts";
import { consensus } from "./consensus.ts";
import { constitutional } from "./constitutional.ts";
import { debate } from "./debate.ts";
import { hierarchical } from "./hierarchical.ts";
import { iterativeRefinement } from "./iterative-refinement.ts";
import { mapReduce } from "./map-reduce.ts";
import { mixtureOfExperts } from "./mixture-of-experts.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";
import { rag } from "./rag.ts";
import { react } from "./react.ts";
import { reflection } from "./reflection.ts";
import { roundRobin } from "./round-robin.ts";
import { socratic } from "./socratic.ts";
import { treeOfThoughts } from "./tree-of-thoughts.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
export type PatternName =
  | "chain-of-density"
  | "consensus"
  | "constitutional"
  | "debate"
  | "hierarchical"
  | "iterative-refinement"
  | "map-reduce"
  | "mixture-of-experts"
  | "pipeline"
  | "rag"
  | "react"
  | "reflection"
  | "round-robin"
  | "socratic"
  | "tree-of-thoughts";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  "chain-of-density": chainOfDensity,
  consensus,
  constitutional,
  debate,
  hierarchical,
  "iterative-refinement": iterativeRefinement,
  "map-reduce": mapReduce,
  "mixture-of-experts": mixtureOfExperts,
  pipeline,
  rag,
  react,
  reflection,
  "round-robin": roundRobin,
  socratic,
  "tree-of-thoughts": treeOfThoughts,
};
