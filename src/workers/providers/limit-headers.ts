import type { StatedLimits } from "../../shared/budget.ts";
import { durationMs, serverTime } from "./retry-after.ts";

/** A bucket of a minute never needs longer than that to fill, beyond the clock's and the header's whole seconds. */
const ROUNDING_SECONDS = 2;

const MAX_LIMIT = 1e12;

const HEADERS = {
  rpm: ["x-ratelimit-*-requests", "anthropic-ratelimit-requests-*"],
  tpm: ["x-ratelimit-*-tokens", "anthropic-ratelimit-tokens-*"],
  itpm: ["anthropic-ratelimit-input-tokens-*"],
  otpm: ["anthropic-ratelimit-output-tokens-*"],
} as const;

/**
 * The limits per minute that an answer's headers state, in both dialects. A limit that is no rate per minute is left
 * out: some providers state requests per day under the same name, and then the time to the reset tells.
 */
export function statedLimits(headers: Headers, nowMs = Date.now()): StatedLimits {
  const stated: StatedLimits = {};
  for (const [name, patterns] of Object.entries(HEADERS)) {
    const limits = patterns.map((pattern) => perMinute(headers, pattern, nowMs));
    const limit = limits.find((value) => value !== undefined);
    if (limit !== undefined) stated[name as keyof StatedLimits] = limit;
  }
  return stated;
}

function perMinute(headers: Headers, pattern: string, nowMs: number): number | undefined {
  const field = (part: string) => headers.get(pattern.replace("*", part));
  const limit = Number(field("limit") || Number.NaN);
  if (!(limit >= 1 && limit <= MAX_LIMIT)) return undefined;
  const remaining = Number(field("remaining") || Number.NaN);
  const resetSeconds = secondsUntil(field("reset"), headers, nowMs);
  // What a bucket of this rate would hold when it is full.
  const capacity = remaining + (resetSeconds - ROUNDING_SECONDS) * (limit / 60);
  return capacity > limit ? undefined : limit;
}

/** A duration (OpenAI) or an instant (Anthropic), from the clock that wrote it. */
function secondsUntil(text: string | null, headers: Headers, nowMs: number): number {
  const duration = durationMs(text);
  if (!Number.isNaN(duration)) return duration / 1000;
  return (Date.parse(text ?? "") - serverTime(headers, nowMs)) / 1000;
}
