import type { Limits } from "./load.ts";
import type { Arrival } from "./simulator-control.ts";

/** Epoch milliseconds. */
export interface Span {
  from: number;
  to: number;
}

/** What the provider saw of a fleet. */
export interface Figures {
  accepted: number;
  /** Accepted of what the tighter limit allowed, 1 = all. */
  use: number;
  rateLimited: number;
  /** 429s of all calls. */
  limitedShare: number;
  /** Longest time without an accepted request. */
  longestGapMs: number;
  /** Waits of accepted requests, ascending; only where senders report them. */
  waitsMs: number[];
}

export function figuresOf(arrivals: readonly Arrival[], limits: Limits, span: Span): Figures {
  const seen = arrivals.filter(({ at }) => at >= span.from && at < span.to);
  const accepted = seen.filter(({ tokens }) => tokens > 0);
  const minutes = (span.to - span.from) / 60_000;
  const tokens = accepted.reduce((sum, arrival) => sum + arrival.tokens, 0);
  const rateLimited = seen.filter(({ isLimited }) => isLimited).length;
  return {
    accepted: accepted.length,
    use: Math.max(accepted.length / limits.rpm, tokens / limits.tpm) / minutes,
    rateLimited,
    limitedShare: rateLimited / Math.max(1, seen.length),
    longestGapMs: longestGapMs(accepted, span),
    waitsMs: accepted.map(waitOf).sort((a, b) => a - b),
  };
}

function longestGapMs(accepted: readonly Arrival[], { from, to }: Span): number {
  const times = [from, ...accepted.map(({ at }) => at), to];
  return Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)));
}

/** As its sender wrote it into the message. */
export function waitOf({ lastUserText }: Arrival): number {
  return Number(/^[\d.]+ (\d+)/.exec(lastUserText)?.[1] ?? 0);
}

/** @param sorted ascending */
export function percentile(sorted: readonly number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0;
}

const FULL_RATE_MS = 2000;

/** From `since` until the first 2 s with at least 90 % of `perSecond` begin; infinite when they never do. */
export function timeToFullRateMs(arrivals: readonly Arrival[], since: number, perSecond: number): number {
  const times = arrivals.filter(({ at, tokens }) => at >= since && tokens > 0).map(({ at }) => at);
  const needed = Math.ceil(((perSecond * FULL_RATE_MS) / 1000) * 0.9);
  const first = times.find(
    (at, index) => (times[index + needed - 1] ?? Number.POSITIVE_INFINITY) - at <= FULL_RATE_MS,
  );
  return (first ?? Number.POSITIVE_INFINITY) - since;
}

/** Requests, named by the first line of their message, that the provider answered more than once. */
export function answeredTwice(arrivals: readonly Arrival[]): number {
  const answered = arrivals
    .filter(({ status }) => status === 200)
    .map(({ lastUserText }) => lastUserText.split("\n")[0]);
  return answered.length - new Set(answered).size;
}

export function epochMs(): number {
  return performance.timeOrigin + performance.now();
}

export interface Second {
  accepted: number;
  limited: number;
}

/** Counts of each whole second of a span. */
export function secondsOf(arrivals: readonly Arrival[], { from, to }: Span): Second[] {
  const bins = Array.from({ length: Math.floor((to - from) / 1000) }, () => ({ accepted: 0, limited: 0 }));
  for (const { at, tokens, isLimited } of arrivals) {
    const bin = bins[Math.floor((at - from) / 1000)];
    if (bin && tokens > 0) bin.accepted++;
    if (bin && isLimited) bin.limited++;
  }
  return bins;
}
