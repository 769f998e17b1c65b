import { consensus } from "./consensus.ts";
import { constitutional } from "./constitutional.ts";
import { hierarchical } from "./hierarchical.ts";
import type { Pattern } from "./pattern.ts";
import { pipeline } from "./pipeline.ts";
import { rag } from "./rag.ts";

/** Every pattern has its place here: a name without its pattern does not pass the type check. */
type PatternName = "consensus" | "constitutional" | "hierarchical" | "pipeline" | "rag";

// biome-ignore lint/suspicious/noExplicitAny: each pattern has a config of its own.
export const PATTERNS: Readonly<Record<PatternName, Pattern<any>>> = {
  consensus,
  constitutional,
  hierarchical,
  pipeline,
  rag,
};
