/** Tokens of a request. */
export interface TokenCounts {
  input: number;
  output: number;
}

/** A plain number counts as input; what is no number, as 0. */
export function tokenCounts(tokens: TokenCounts | number): TokenCounts {
  const { input, output } = typeof tokens === "number" ? { input: tokens, output: 0 } : tokens;
  return { input: whole(input), output: whole(output) };
}

/**
 * What a request costs of each limit. Tokens are collected first: a paced request unit is good for its moment only.
 */
export const LIMIT_NAMES = ["inputTokens", "outputTokens", "tokens", "requests"] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];
export type Cost = Record<LimitName, number>;

export function costOf(tokens: TokenCounts | number): Cost {
  const { input, output } = tokenCounts(tokens);
  return { inputTokens: input, outputTokens: output, tokens: input + output, requests: 1 };
}

function whole(units: number): number {
  return Math.max(0, Math.ceil(units) || 0);
}
