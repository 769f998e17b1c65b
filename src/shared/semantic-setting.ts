/** What the semantic cache does: nothing; what it would have answered is only counted; it answers. */
export const SEMANTIC_MODES = ["off", "shadow", "serve"] as const;

/** The semantic cache; absent when it is off. */
export interface SemanticSettings {
  mode: "shadow" | "serve";
  /** The embeddings model, as `entry:model`. */
  model: string;
  /** The least cosine of two questions' vectors, from 0 to 1. */
  threshold: number;
  /** The length of a vector; 0: the model's own. */
  dimensions: number;
  /** The model that says in shadow mode whether two answers say the same, as `entry:model`; undefined: equal texts do. */
  judge: string | undefined;
}

interface Values {
  SEMANTIC_CACHE: (typeof SEMANTIC_MODES)[number];
  SEMANTIC_CACHE_MODEL?: string | undefined;
  SEMANTIC_CACHE_THRESHOLD: number;
  SEMANTIC_CACHE_DIMENSIONS: number;
  SEMANTIC_CACHE_JUDGE?: string | undefined;
}

/** Returns the settings of the semantic cache. */
export function semanticSettings(values: Values): SemanticSettings | undefined {
  const { SEMANTIC_CACHE: mode, SEMANTIC_CACHE_MODEL: model } = values;
  if (mode === "off" || model === undefined) return undefined;
  return {
    mode,
    model,
    threshold: values.SEMANTIC_CACHE_THRESHOLD,
    dimensions: values.SEMANTIC_CACHE_DIMENSIONS,
    judge: values.SEMANTIC_CACHE_JUDGE,
  };
}

/** Returns what is wrong with them together. */
export function semanticFaults({ SEMANTIC_CACHE, SEMANTIC_CACHE_MODEL }: Values): string[] {
  if (SEMANTIC_CACHE === "off" || SEMANTIC_CACHE_MODEL !== undefined) return [];
  return [
    `GLUELLM_SEMANTIC_CACHE_MODEL: is needed with GLUELLM_SEMANTIC_CACHE=${SEMANTIC_CACHE}, such as openai:text-embedding-3-small`,
  ];
}
