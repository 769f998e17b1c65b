/** The tokens of a request: those it sends, and those of its answer. */
export interface TokenCounts {
  input: number;
  output: number;
}

/** Returns whole tokens: a plain number counts as input, what is no number as 0. */
export function tokenCounts(tokens: TokenCounts | number): TokenCounts {
  const { input, output } = typeof tokens === "number" ? { input: tokens, output: 0 } : tokens;
  return { input: whole(input), output: whole(output) };
}

function whole(units: number): number {
  return Math.max(0, Math.ceil(units) || 0);
}
