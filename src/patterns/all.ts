import { chainOfDensity } from "./chain-of-density.ts";
import { consensus } from "./consensus.ts";
import { constitutional } from "./constitutional.ts";
import { debate } from "./debate.ts";
import { hierarchical } from "./hierarchical.ts";
import { iterativeRefinement } from "./iterative-refinement.ts";
import { mapReduce } from "./map-reduce.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";
import { rag } from "./rag.ts";
import { reflection } from "./reflection.ts";
import { roundRobin } from "./round-robin.ts";
import { socratic } from "./socratic.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
export type PatternName =
  | "chain-of-density"
  | "consensus"
  | "constitutional"
  | "debate"
  | "hierarchical"
  | "iterative-refinement"
  | "map-reduce"
  | "pipeline"
  | "rag"
  | "reflection"
  | "round-robin"
  | "socratic";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  "chain-of-density": chainOfDensity,
  consensus,
  constitutional,
  debate,
  hierarchical,
  "iterative-refinement": iterativeRefinement,
  "map-reduce": mapReduce,
  pipeline,
  rag,
  reflection,
  "round-robin": roundRobin,
  socratic,
};
