import { mixtureOfExperts } from "./mixture-of-experts.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";
import { react } from "./react.ts";
import { treeOfThoughts } from "./tree-of-thoughts.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
type PatternName = "mixture-of-experts" | "pipeline" | "react" | "tree-of-thoughts";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  "mixture-of-experts": mixtureOfExperts,
  pipeline,
  react,
  "tree-of-thoughts": treeOfThoughts,
};
