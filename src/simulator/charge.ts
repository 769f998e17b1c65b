import type { SimulatedAnswer } from "./answer.ts";
import type { Call } from "./call.ts";

export const CHARGE_POLICIES = ["used", "requested", "produced"] as const;
/**
 * What a call costs: `used` is its prompt and its real completion, both when it is admitted; `requested` its prompt and
 * the `max_tokens` of all choices, where given, as OpenAI counts; `produced` its prompt when it is admitted and its completion
 * when that is there, as Anthropic counts: a long answer may leave its bucket owing, and nothing is admitted until that is
 * made good. The `usage` in answers is the real one in any case.
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
