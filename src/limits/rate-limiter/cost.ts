import { type TokenCounts, tokenCounts } from "../../shared/token-counts.ts";

/**
 * What a request costs of each limit. Tokens are collected first: a paced request unit is good for its moment only.
 */
export const LIMIT_NAMES = ["inputTokens", "outputTokens", "tokens", "requests"] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];
export type Cost = Record<LimitName, number>;

/** Returns what a request of so many tokens costs of each limit; a plain number counts as input. */
export function costOf(tokens: TokenCounts | number): Cost {
  const { input, output } = tokenCounts(tokens);
  return { inputTokens: input, outputTokens: output, tokens: input + output, requests: 1 };
}
