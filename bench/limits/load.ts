import { randomInt } from "node:crypto";

export interface Limits {
  rpm: number;
  tpm: number;
  /** The provider's bucket in seconds of rate. */
  burstSeconds: number;
}

/** Log-normal: median and sigma of the logarithm; cut at 5 medians. */
export interface Sizes {
  medianTokens: number;
  sigma: number;
}

/** Box–Muller transform. */
export function drawTokens({ medianTokens, sigma }: Sizes): number {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return Math.ceil(medianTokens * Math.min(5, Math.exp(sigma * normal)));
}

export function meanTokens({ medianTokens, sigma }: Sizes): number {
  return medianTokens * Math.exp(sigma ** 2 / 2);
}

/** A user message that the simulator charges with exactly `tokens`; the tag leads its journal entry. */
export function messageOf(tag: string, tokens: number): string {
  const text = (completion: number) => `${tag}\n#sim {"reply":"","tokens":${completion}}`;
  return text(tokens - Math.ceil(text(tokens).length / 4));
}

/** Two runs never share keys in Redis or buckets at the provider. */
export function uniqueName(): string {
  return `bench-${randomInt(2 ** 47).toString(36)}`;
}
