import type { SimulatedAnswer } from "./answer.ts";
import type { Call } from "./call.ts";

export const CHARGE_POLICIES = ["used", "requested"] as const;
/**
 * What a call costs: `used` is its prompt and its real completion, as Anthropic counts; `requested` its prompt and
 * the `max_tokens` of all choices, where given, as OpenAI counts. The `usage` in answers is the real one either way.
 */
export type ChargePolicy = (typeof CHARGE_POLICIES)[number];

/** Tokens that one call takes from the buckets. */
export interface TokenCharge {
  promptTokens: number;
  completionTokens: number;
}

/** Returns what a call costs by a policy. */
export function chargeOf(call: Call, answer: SimulatedAnswer, policy: ChargePolicy): TokenCharge {
  const { promptTokens, maxTokens, choices } = call;
  const isRequested = policy === "requested" && maxTokens !== undefined;
  return { promptTokens, completionTokens: isRequested ? maxTokens * choices : answer.completionTokens };
}
