const MAX_MS = 24 * 60 * 60 * 1000;
const UNIT_MS: Record<string, number> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};
/** A plain number from here on is an instant in epoch seconds, and from the second on in epoch milliseconds. */
const [LEAST_EPOCH_SECONDS, LEAST_EPOCH_MS] = [1e9, 1e11];
const LIMITS = [
  ...["-requests", "-tokens", ""].map((kind) => ({
    remaining: `x-ratelimit-remaining${kind}`,
    reset: `x-ratelimit-reset${kind}`,
  })),
  ...["requests", "tokens", "input-tokens", "output-tokens"].map((kind) => ({
    remaining: `anthropic-ratelimit-${kind}-remaining`,
    reset: `anthropic-ratelimit-${kind}-reset`,
  })),
];

/**
 * Returns how long the provider asks to wait, in milliseconds, at most 24 hours: `retry-after-ms`, then `retry-after`
 * (seconds or a date), then the latest reset among the limits that have nothing left. Undefined when none of them names
 * a time ahead: a wait of 0 would only draw the next refusal.
 */
export function retryAfterMs(headers: Headers, now = Date.now()): number | undefined {
  const clock = serverTime(headers, now);
  const millis = Number(headers.get("retry-after-ms") ?? Number.NaN);
  return (
    bounded(millis) ??
    bounded(millisUntil(headers.get("retry-after"), clock)) ??
    bounded(reset(headers, clock))
  );
}

/** Returns the milliseconds of `6m0s`, `12ms`, `1.5s` or plain seconds; NaN for anything else. */
export function durationMs(text: string | null | undefined): number {
  if (!text) return Number.NaN;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (!/^(\d+(\.\d+)?(ms|us|µs|ns|d|h|m|s))+$/.test(text)) return Number.NaN;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)/g)];
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNIT_MS[unit ?? ""] ?? 0), 0);
}

function bounded(millis: number): number | undefined {
  return millis > 0 ? Math.min(Math.ceil(millis), MAX_MS) : undefined;
}

/**
 * Returns the milliseconds that a header's time is ahead, in whichever form: a duration (`6m0s`, plain seconds), or an
 * instant by the clock that wrote it, as an epoch in seconds or milliseconds, an ISO or an HTTP date; NaN for anything
 * else.
 */
export function millisUntil(text: string | null, clock: number): number {
  const number = Number(text || Number.NaN);
  if (number >= LEAST_EPOCH_MS) return number - clock;
  if (number >= LEAST_EPOCH_SECONDS) return number * 1000 - clock;
  const duration = durationMs(text);
  return Number.isNaN(duration) ? Date.parse(text ?? "") - clock : duration;
}

function reset(headers: Headers, clock: number): number {
  const isSpent = ({ remaining }: { remaining: string }) => Number(headers.get(remaining) || Number.NaN) <= 0;
  const waits = LIMITS.filter(isSpent).map((limit) => millisUntil(headers.get(limit.reset), clock));
  return Math.max(...waits.filter((millis) => millis > 0));
}

/** Returns the epoch milliseconds of the clock that wrote the dates, since ours may differ. */
export function serverTime(headers: Pick<Headers, "get">, now: number): number {
  const time = Date.parse(headers.get("date") ?? "");
  return Number.isNaN(time) ? now : time;
}
