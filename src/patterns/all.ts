import { debate } from "./debate.ts";
import { iterativeRefinement } from "./iterative-refinement.ts";
import { mapReduce } from "./map-reduce.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
type PatternName = "debate" | "iterative-refinement" | "map-reduce" | "pipeline";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  debate,
  "iterative-refinement": iterativeRefinement,
  "map-reduce": mapReduce,
  pipeline,
};
