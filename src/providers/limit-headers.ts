import { STATED_LIMITS, type StatedLimits } from "../shared/budget.ts";
import { millisUntil, serverTime } from "./retry-after.ts";

type LimitHeaders = Pick<Headers, "get">;
type StatedLimit = (typeof STATED_LIMITS)[number];

/** The error of the header's whole seconds and of the clocks. */
const ROUNDING_SECONDS = 2;
const DAY_SECONDS = 86_400;
const MAX_LIMIT = 1e12;

const HEADERS: Record<StatedLimit, readonly string[]> = {
  rpm: ["x-ratelimit-*-requests", "anthropic-ratelimit-requests-*"],
  tpm: ["x-ratelimit-*-tokens", "anthropic-ratelimit-tokens-*"],
  itpm: ["anthropic-ratelimit-input-tokens-*"],
  otpm: ["anthropic-ratelimit-output-tokens-*"],
};

/**
 * Returns the limits per minute that an answer's headers state, in both dialects. A limit that is no rate per minute is
 * left out: some providers state requests per day under the same name, and then the time to the reset tells.
 */
export function statedLimits(headers: LimitHeaders, nowMs = Date.now()): StatedLimits {
  const stated: StatedLimits = {};
  for (const name of STATED_LIMITS) {
    const limits = HEADERS[name].map((pattern) => perMinute(headers, pattern, nowMs));
    stated[name] = limits.find((limit) => limit !== undefined);
  }
  return stated;
}

/** Returns whether the headers speak of the limit at all, whatever they say. */
export function mentionsLimit(headers: LimitHeaders, name: StatedLimit): boolean {
  return HEADERS[name].some((pattern) => headers.get(pattern.replace("*", "limit")) !== null);
}

function perMinute(headers: LimitHeaders, pattern: string, nowMs: number): number | undefined {
  const field = (part: string) => headers.get(pattern.replace("*", part));
  const limit = Number(field("limit") || Number.NaN);
  if (!(limit >= 1 && limit <= MAX_LIMIT)) return undefined;
  const used = limit - Number(field("remaining") || Number.NaN);
  const resetSeconds = secondsUntil(field("reset"), headers, nowMs);
  return isPerDay(limit, used, resetSeconds) ? undefined : limit;
}

/**
 * Returns whether a limit is one of a day. A minute's window is over, and a minute's bucket full, in a minute. A day's
 * bucket gets back what was used at its own slow rate, which a few used units already show.
 */
function isPerDay(limit: number, used: number, resetSeconds: number): boolean {
  if (resetSeconds > 60 + ROUNDING_SECONDS) return true;
  const asMinute = (used / limit) * 60;
  const asDay = (used / limit) * DAY_SECONDS;
  return (
    resetSeconds > asMinute + ROUNDING_SECONDS && Math.abs(resetSeconds - asDay) <= Math.max(1, asDay / 10)
  );
}

function secondsUntil(text: string | null, headers: LimitHeaders, nowMs: number): number {
  return millisUntil(text, serverTime(headers, nowMs)) / 1000;
}
