import { chainOfDensity } from "./chain-of-density.ts";
import { debate } from "./debate.ts";
import { iterativeRefinement } from "./iterative-refinement.ts";
import { mapReduce } from "./map-reduce.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";
import { reflection } from "./reflection.ts";
import { roundRobin } from "./round-robin.ts";
import { socratic } from "./socratic.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
export type PatternName =
  | "chain-of-density"
  | "debate"
  | "iterative-refinement"
  | "map-reduce"
  | "pipeline"
  | "reflection"
  | "round-robin"
  | "socratic";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  "chain-of-density": chainOfDensity,
  debate,
  "iterative-refinement": iterativeRefinement,
  "map-reduce": mapReduce,
  pipeline,
  reflection,
  "round-robin": roundRobin,
  socratic,
};
