import { chainOfDensity } from "./chain-of-density.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";
import { reflection } from "./reflection.ts";
import { roundRobin } from "./round-robin.ts";
import { socratic } from "./socratic.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
type PatternName = "chain-of-density" | "pipeline" | "reflection" | "round-robin" | "socratic";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  "chain-of-density": chainOfDensity,
  pipeline,
  reflection,
  "round-robin": roundRobin,
  socratic,
};
