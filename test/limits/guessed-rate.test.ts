import { describe, expect, test } from "vitest";
import {
  type AcceptedAt,
  afterRefusal,
  held,
  isGivenUp,
  pauseMsOf,
  rateOf,
} from "../../src/limits/guessed-rate.ts";
import type { Guess } from "../../src/store/learned-limits.ts";

const LOOK_MS = 5000;
const TELL_MS = 250;
const LAG_MS = 80;
const SECOND_MS = 1000;

interface Provider {
  /** Whether it accepts a call now. */
  accepts: (at: number) => boolean;
  /** What it bears, in a second. */
  perSecond: (at: number) => number;
}

/** A bucket that is strict and continuous, of so many seconds of the rate. */
function bucket(perSecond: (at: number) => number, seconds = 1): Provider {
  let level = perSecond(0) * seconds;
  let filledAt = 0;
  return {
    perSecond,
    accepts: (at) => {
      level = Math.min(perSecond(at) * seconds, level + (perSecond(at) * (at - filledAt)) / SECOND_MS);
      filledAt = at;
      if (level < 1) return false;
      level -= 1;
      return true;
    },
  };
}

/** So many calls in each minute, however fast. */
function minuteWindow(perMinute: number): Provider {
  let [window, used] = [0, 0];
  return {
    perSecond: () => perMinute / 60,
    accepts: (at) => {
      const now = Math.floor(at / 60_000);
      if (now !== window) [window, used] = [now, 0];
      used += 1;
      return used <= perMinute;
    },
  };
}

/** A fleet that has more to do than the provider bears, in steps of 5 ms. Returns the share of what it bears that was used, and of the calls that were refused. */
function fleetUnder(provider: Provider, { seconds = 600, from = 120, firstPerSecond = 40 } = {}) {
  let guess: Guess | undefined;
  let [units, pausedUntil, ramp] = [0, 0, 24];
  let seen: AcceptedAt[] = [];
  const accepted: number[] = [];
  const refused: number[] = [];
  const countAt = (at: number) => accepted.length - accepted.slice(-200).filter((sent) => sent > at).length;
  for (let at = 0; at < seconds * SECOND_MS; at += 5) {
    if (at % TELL_MS === 0) seen = [...seen, { at, total: countAt(at - LAG_MS) }].slice(-240);
    if (at < pausedUntil) units = 0;
    if (at < pausedUntil) continue;
    const perSecond = guess ? (rateOf(guess) ?? 6000) / 60 : 0;
    units = Math.min(Math.max(1, 0.7 * perSecond), units + (perSecond * 5) / SECOND_MS);
    // Before anything is known it begins with a few calls and becomes faster.
    ramp += at < 200 || guess ? 0 : 1.2;
    const calls = Math.floor(guess ? units : ramp);
    if (guess) units -= calls;
    else ramp -= calls;
    let isRefused = false;
    for (let n = 0; n < calls; n++) {
      const isAccepted = provider.accepts(at);
      (isAccepted ? accepted : refused).push(at);
      isRefused ||= !isAccepted;
    }
    if (isRefused) {
      guess = afterRefusal(guess, { at, total: countAt(at - LAG_MS) }, seen, firstPerSecond * 60);
      pausedUntil = at + pauseMsOf(guess);
    } else if (guess && at - guess.raisedAt >= LOOK_MS) guess = held(guess, at, LOOK_MS);
  }
  const since = from * SECOND_MS;
  const inSpan = (times: number[]) => times.filter((at) => at >= since).length;
  let borne = 0;
  for (let second = from; second < seconds; second++) borne += provider.perSecond(second * SECOND_MS);
  const calls = inSpan(accepted) + inSpan(refused);
  return { use: inSpan(accepted) / borne, refused: inSpan(refused) / calls, guess };
}

describe("a rate that is concluded from refusals", () => {
  test.each<[string, Provider, Parameters<typeof fleetUnder>[1]]>([
    ["25 a second", bucket(() => 25), {}],
    ["25 a second, soon", bucket(() => 25), { from: 8, seconds: 32 }],
    ["100 a second", bucket(() => 100), { firstPerSecond: 150 }],
    ["5 a second", bucket(() => 5), {}],
    ["25 a second, of which much less was guessed first", bucket(() => 25), { firstPerSecond: 10 }],
    ["a bucket of ten seconds", bucket(() => 25, 10), {}],
    ["a limit that is halved", bucket((at) => (at < 120_000 ? 25 : 12.5)), {}],
  ])("is used to the full, and hardly ever refused: %s", (_what, provider, options) => {
    const { use, refused } = fleetUnder(provider, options);
    expect(use).toBeGreaterThan(0.95);
    expect(refused).toBeLessThan(0.005);
  });

  test("grows when the provider bears more", () => {
    const doubled = bucket((at) => (at < 120_000 ? 25 : 50));
    const { use, refused } = fleetUnder(doubled, { from: 400 });
    expect(use).toBeGreaterThan(0.95);
    expect(refused).toBeLessThan(0.005);
  });

  test("holds of a provider that counts from minute to minute too", () => {
    const { use, refused } = fleetUnder(minuteWindow(1500));
    expect(use).toBeGreaterThan(0.95);
    expect(refused).toBeLessThan(0.01);
  });

  test("is not taken for less after an hour in which hardly anybody called", () => {
    const { guess } = fleetUnder(bucket(() => 25));
    if (!guess) throw new Error("nothing was concluded");
    const at = guess.raisedAt + 3_600_000;
    const seen = [{ at: at - 3000, total: guess.accepted + 60 }];
    const later = afterRefusal(guess, { at, total: guess.accepted + 80 }, seen, 0);
    expect(later.perMinute).toBeGreaterThanOrEqual(guess.perMinute);
  });

  test("of one call a second stays near it", () => {
    const { use, refused } = fleetUnder(bucket(() => 1));
    expect(use).toBeGreaterThan(0.85);
    expect(refused).toBeLessThan(0.02);
  });

  test("is given up where calls are refused at any rate, and looked at again later", () => {
    let n = 0;
    const now = 600 * SECOND_MS;
    const faulty = { accepts: () => n++ % 20 !== 7, perSecond: () => 50 };
    const { guess } = fleetUnder(faulty, { firstPerSecond: 60, from: 60 });
    if (!guess) throw new Error("nothing was concluded");
    expect(rateOf(guess)).toBeUndefined();
    expect(isGivenUp(guess, now)).toBe(true);
    expect(isGivenUp(guess, guess.refusedAt + 11 * 60_000)).toBe(false);
  });
});
