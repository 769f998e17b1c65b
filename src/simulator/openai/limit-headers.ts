import type { LimitReadings } from "../limits.ts";

/**
 * Returns `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`: per minute, takable now, time until full. OpenAI has
 * no headers for input and output apart.
 */
export function limitHeaders(readings: LimitReadings): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const scope of ["requests", "tokens"] as const) {
    const reading = readings[scope];
    if (!reading) continue;
    headers[`x-ratelimit-limit-${scope}`] = String(reading.perMinute);
    headers[`x-ratelimit-remaining-${scope}`] = String(reading.remaining);
    headers[`x-ratelimit-reset-${scope}`] = goDuration(reading.fullInMs);
  }
  return headers;
}

/** Returns a Go duration, as OpenAI writes them: `12ms`, `1.5s`, `6m0s`, `1h0m30s`; rounded up to milliseconds. */
export function goDuration(durationMs: number): string {
  const wholeMs = Math.ceil(durationMs);
  if (wholeMs < 1000) return `${wholeMs}ms`;
  const seconds = `${Number(((wholeMs % 60_000) / 1000).toFixed(3))}s`;
  const minutes = Math.floor(wholeMs / 60_000);
  if (minutes === 0) return seconds;
  return minutes < 60 ? `${minutes}m${seconds}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}
