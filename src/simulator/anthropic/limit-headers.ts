import type { LimitReadings } from "../limits.ts";
import type { BucketReading } from "../token-bucket.ts";

/**
 * `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`: per minute, takable
 * now, instant when full. The simulator has one token bucket for input and output together and tells it three times.
 */
export function limitHeaders(
  { requests, tokens }: LimitReadings,
  nowEpochMs: number,
): Record<string, string> {
  return {
    ...headersOf("requests", requests, nowEpochMs),
    ...headersOf("tokens", tokens, nowEpochMs),
    ...headersOf("input-tokens", tokens, nowEpochMs),
    ...headersOf("output-tokens", tokens, nowEpochMs),
  };
}

function headersOf(scope: string, reading: BucketReading | undefined, nowEpochMs: number) {
  if (!reading) return {};
  const prefix = `anthropic-ratelimit-${scope}`;
  return {
    [`${prefix}-limit`]: String(reading.perMinute),
    [`${prefix}-remaining`]: String(reading.remaining),
    [`${prefix}-reset`]: wholeSecond(nowEpochMs + reading.fullInMs),
  };
}

/** RFC 3339 without fractions, rounded up: never an instant at which the bucket is not full yet. */
function wholeSecond(epochMs: number): string {
  return new Date(Math.ceil(epochMs / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
