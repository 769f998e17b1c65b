/** Tokens of a request; a plain number counts as input. */
export type TokenCounts = { input: number; output: number };

/**
 * What a request costs of each limit. Tokens are collected first: a paced request unit is good for its moment only.
 */
export const LIMIT_NAMES = ["inputTokens", "outputTokens", "tokens", "requests"] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];
export type Cost = Record<LimitName, number>;

/** @param tokens what is not a number counts as 0 */
export function costOf(tokens: TokenCounts | number): Cost {
  const { input, output } = typeof tokens === "number" ? { input: tokens, output: 0 } : tokens;
  const [inputTokens, outputTokens] = [whole(input), whole(output)];
  return { inputTokens, outputTokens, tokens: inputTokens + outputTokens, requests: 1 };
}

function whole(units: number): number {
  return Math.max(0, Math.ceil(units) || 0);
}
