import type { Guess } from "../store/learned-limits.ts";

/*
 * How many calls a minute a provider bears that states no limits and names no time when it refuses, concluded from its refusals.
 *
 * A refusal means that its bucket is empty. So what it accepted between two of them, over the time between them, is the rate by which the bucket
 * fills, whatever its size. The fleet then keeps a little below it, for the longer the better it is known, and goes above it ever faster after that (the
 * curve of S. Ha, I. Rhee, L. Xu, CUBIC: A New TCP-Friendly High-Speed TCP Variant, 2008), until the next refusal says how much it is now. A provider
 * that refuses calls again and again at less than that does not do so for the rate: then nothing is kept to.
 */

/** The share of the concluded rate that is used at first. */
const FIRST_SHARE = 0.98;
/** It reaches the whole rate after as long as the time from which the rate was concluded; after a longer time that is telling, times this. */
const CONFIDENCE = 3;
const [MIN_HOLD_MS, MAX_HOLD_MS] = [4000, 60_000];
/** Within the last seconds a bucket that was full may have given a second of the rate beside what it gained. */
const BURST_MS = 1000;
/** So few calls, or so little of what is known, mean that nothing is accepted at present; for longer, that it is less. */
const [LEAST_CALLS, EMPTY_SHARE, MAX_BETWEEN_MS] = [10, 0.1, 120_000];
/**
 * What is accepted in less time is chance: calls are under way that will be refused, and others that nobody has told of. What is known well
 * needs more time, as a provider's minute may end between.
 */
const [LEAST_MS, LEAST_KNOWN_MS] = [2000, 10_000];
/** What was accepted in a longer time, in which less of the rate was used, does not say that it has become less. */
const [SHORT_MS, USED_SHARE] = [15_000, 1 / 3];
/** Per minute: what is hardly known is not taken for less. */
const LEAST_ROUGH = 300;
/** So many rates in a row that were refused too, though calls are accepted all the time, and for how long nothing is concluded then. */
const [MAX_MISSES, GIVEN_UP_MS] = [6, 10 * 60_000];
/** Other processes tell of their calls so late. */
const TOLD_LATE_MS = 250;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_DOUBLINGS = 7;
/** A rate that nothing supports may be half as high again after each look. */
const MAX_RAISE = 1.5;

/** What the fleet's calls so far were at some moment. */
export interface AcceptedAt {
  /** Epoch milliseconds by the clock of Redis. */
  at: number;
  total: number;
}

/**
 * Returns what a refusal says.
 * @param before what was concluded last; undefined: it is the first
 * @param now how many calls were accepted by now
 * @param seen earlier counts of the last seconds, the oldest first
 * @param roughPerMinute of the first: what the fleet seems to make
 */
export function afterRefusal(
  before: Guess | undefined,
  now: AcceptedAt,
  seen: readonly AcceptedAt[],
  roughPerMinute: number,
): Guess {
  const refusals = (before?.refusals ?? 0) + 1;
  const fresh = {
    refusals,
    refusedAt: now.at,
    accepted: now.total,
    raisedAt: now.at,
    heldMs: 0,
    empties: 0,
    misses: 0,
  };
  if (!before) return { ...fresh, perMinute: Math.max(LEAST_ROUGH, roughPerMinute), holdMs: MIN_HOLD_MS };
  const betweenMs = now.at - before.refusedAt;
  const accepted = now.total - before.accepted;
  const isKnown = before.holdMs > MIN_HOLD_MS;
  const expected = isKnown ? (before.perMinute / 60_000) * betweenMs : 0;
  const isEmpty = accepted <= EMPTY_SHARE * expected && betweenMs < MAX_BETWEEN_MS;
  const isChance = accepted < LEAST_CALLS && betweenMs < MAX_BETWEEN_MS;
  if (isEmpty || isChance || betweenMs < (isKnown ? LEAST_KNOWN_MS : LEAST_MS)) {
    // The pause was too short: of a window that begins anew each minute, say. What is hardly known is too high as well.
    const rate = isKnown ? before.perMinute : Math.max(LEAST_ROUGH, before.perMinute / 2);
    const empties = before.empties + (isEmpty ? 1 : 0);
    return { ...before, refusals, perMinute: rate, empties, raisedAt: now.at };
  }
  // None of them can be above what the provider bears: while less was asked for, it was less.
  const ofLate = seen
    .filter(({ at }) => at >= before.refusedAt && now.at - at >= LEAST_MS)
    .map(({ at, total }) => perMinute(now.total - total, now.at - at + BURST_MS));
  const confidence = betweenMs < LEAST_KNOWN_MS ? 1 : CONFIDENCE;
  const holdMs = Math.min(MAX_HOLD_MS, Math.max(MIN_HOLD_MS + 1, confidence * betweenMs));
  const wasUsed = betweenMs < SHORT_MS || before.heldMs > USED_SHARE * betweenMs;
  const least = isKnown && !wasUsed ? before.perMinute : 1;
  const rate = Math.max(least, perMinute(accepted, betweenMs - TOLD_LATE_MS), ...ofLate);
  const isMiss = isKnown && before.heldMs < before.holdMs && before.empties === 0;
  return { ...fresh, perMinute: rate, holdMs, misses: isMiss ? before.misses + 1 : 0 };
}

/** Returns the same after some more time in which calls had to wait for the rate, and none was refused. */
export function held(guess: Guess, now: number, ms: number): Guess {
  return { ...guess, raisedAt: now, heldMs: guess.heldMs + ms };
}

/** Whether the provider's refusals say nothing of its rate at present. */
export function isGivenUp({ misses, refusedAt }: Guess, now: number): boolean {
  return misses >= MAX_MISSES && now - refusedAt < GIVEN_UP_MS;
}

/** Returns the rate to keep now, per minute; undefined: none. */
export function rateOf({ perMinute: known, heldMs, holdMs, misses }: Guess): number | undefined {
  if (misses >= MAX_MISSES) return undefined;
  const share = 1 + (1 - FIRST_SHARE) * (heldMs / holdMs - 1) ** 3;
  return known * Math.min(share, MAX_RAISE ** Math.max(1, heldMs / holdMs));
}

/** Returns how long the fleet waits after a refusal, in milliseconds: longer where the last wait was too short. */
export function pauseMsOf({ empties }: Guess): number {
  return FIRST_PAUSE_MS * 2 ** Math.min(empties, MAX_PAUSE_DOUBLINGS);
}

function perMinute(calls: number, ms: number): number {
  return (calls / ms) * 60_000;
}
