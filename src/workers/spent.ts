import type { ResultRecord } from "../shared/records.ts";
import type { FinishedCall } from "../store/finished-call.ts";
import type { LostCall } from "./job-attempt.ts";

/** A finished call of a job, or a paid one whose answer could not be used. */
export type PaidCall = LostCall & Partial<FinishedCall>;

/** What the finished calls of a job took. */
export type Spent = Pick<ResultRecord, "calls" | "tokens" | "costUsd" | "latencyMs">;

/** The sums of a job's finished calls, and of those whose answers could not be used. */
export function spentOn(calls: readonly PaidCall[]): Spent {
  return {
    calls: calls.filter(({ fromCache }) => !fromCache).length,
    tokens: sumOfTokens(calls),
    costUsd: sumOfCosts(calls),
    latencyMs: Math.round(calls.reduce((sum, { latencyMs }) => sum + latencyMs, 0)),
  };
}

function sumOfTokens(calls: readonly PaidCall[]): ResultRecord["tokens"] {
  const sum = (field: "prompt" | "completion" | "total" | "cached" | "cacheWritten") =>
    calls.reduce((total, { tokens }) => total + (tokens[field] ?? 0), 0);
  const cacheWritten = sum("cacheWritten");
  return {
    prompt: sum("prompt"),
    completion: sum("completion"),
    total: sum("total"),
    cached: sum("cached"),
    ...(cacheWritten > 0 && { cacheWritten }),
    ...(calls.some(({ tokens }) => tokens.estimated) && { estimated: true }),
  };
}

/** Null as soon as the cost of one of them is unknown, and when there was none. */
function sumOfCosts(calls: readonly PaidCall[]): number | null {
  const costs = calls.map(({ costUsd }) => costUsd);
  if (costs.length === 0 || costs.includes(null)) return null;
  return costs.reduce<number>((sum, cost) => sum + (cost ?? 0), 0);
}
