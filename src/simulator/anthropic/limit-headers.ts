import { LIMIT_SCOPES, type LimitReadings } from "../limits.ts";

/**
 * Returns `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`: per minute,
 * takable now, instant when full; each from its own bucket, and only when that limit is set.
 */
export function limitHeaders(readings: LimitReadings, nowEpochMs: number): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const scope of LIMIT_SCOPES) {
    const reading = readings[scope];
    if (!reading) continue;
    headers[`anthropic-ratelimit-${scope}-limit`] = String(reading.perMinute);
    headers[`anthropic-ratelimit-${scope}-remaining`] = String(reading.remaining);
    headers[`anthropic-ratelimit-${scope}-reset`] = wholeSecond(nowEpochMs + reading.fullInMs);
  }
  return headers;
}

/** Returns RFC 3339 without fractions, rounded up: never an instant at which the bucket is not full yet. */
function wholeSecond(epochMs: number): string {
  return new Date(Math.ceil(epochMs / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
