import { expect, test } from "vitest";
import { buysBatch, chanceWithin, switchAt } from "../../src/batch/lanes/lane-plan.ts";
import { readDeadline } from "../../src/shared/deadline.ts";

/* What a deadline is, and which lane it leaves time for. */

const HOUR_MS = 3_600_000;
const seen = (ms: number) => Array.from({ length: 50 }, () => ms);

test("the chance of a provider batch follows what is published, then what was seen", () => {
  expect(chanceWithin(7 * 60_000, [])).toBeCloseTo(0.5, 2);
  expect(chanceWithin(HOUR_MS, [])).toBeCloseTo(0.9, 2);
  expect(chanceWithin(48 * HOUR_MS, [])).toBeCloseTo(0.99, 2);
  expect(chanceWithin(500, [])).toBe(0);
  expect(chanceWithin(HOUR_MS, seen(10 * HOUR_MS))).toBeLessThan(0.1);
  expect(chanceWithin(1000, seen(500))).toBeGreaterThan(0.9);
  // What ended unfinished would have taken longer: it tells of shorter times alone.
  expect(chanceWithin(HOUR_MS, seen(-2 * HOUR_MS))).toBeLessThan(0.1);
  expect(chanceWithin(3 * HOUR_MS, seen(-2 * HOUR_MS))).toBe(chanceWithin(3 * HOUR_MS, []));
});

test("a batch is bought while it may be done in time; the rows left keep the time that they take online", () => {
  const hour = { rows: 3600, rowsPerSecond: 1 };
  expect(switchAt(10 * HOUR_MS, { ...hour, leastMs: 0.5 * HOUR_MS, spanMs: HOUR_MS })).toBe(8 * HOUR_MS);
  // Of a long time more is kept.
  expect(switchAt(10 * HOUR_MS, { ...hour, leastMs: 0.5 * HOUR_MS, spanMs: 8 * HOUR_MS })).toBe(
    7.5 * HOUR_MS,
  );
  const alone = (endsAtMs: number) => ({ endsAtMs, hasFlex: false });
  expect(buysBatch(0, alone(HOUR_MS), [])).toBe(true);
  expect(buysBatch(0, alone(60_000), [])).toBe(false);
  expect(buysBatch(HOUR_MS, alone(HOUR_MS), seen(1))).toBe(false);
  // What has the same price and comes at once is better than a batch that comes one time in three.
  expect(buysBatch(0, alone(4 * 60_000), [])).toBe(true);
  expect(buysBatch(0, { endsAtMs: 4 * 60_000, hasFlex: true }, [])).toBe(false);
});

test.each([
  ["90m", 90 * 60_000],
  ["6h", 6 * HOUR_MS],
  ["1.5d", 36 * HOUR_MS],
])("%s is a span from now", (text, ms) => {
  expect(readDeadline(text, 1000)).toBe(1000 + ms);
});

test("a time of day is the next one; a date is itself; what has passed or is none is refused", () => {
  const noon = new Date(2030, 0, 15, 12, 0).getTime();
  expect(readDeadline("13:00", noon)).toBe(noon + HOUR_MS);
  expect(readDeadline("08:00", noon)).toBe(new Date(2030, 0, 16, 8, 0).getTime());
  expect(readDeadline("2031-01-31T08:00:00Z", noon)).toBe(Date.parse("2031-01-31T08:00:00Z"));
  for (const text of [
    "0s",
    "2020-01-01T00:00:00Z",
    "soon",
    "25:00",
    "",
    "-3h",
    "1e9h",
    "2030-99-99T00:00:00Z",
  ])
    expect(() => readDeadline(text, noon), text).toThrow(
      expect.objectContaining({ code: "invalid_deadline" }),
    );
});
