import { expect, test } from "vitest";
import { readDeadline } from "../../src/batch/lanes/deadline.ts";
import { buysBatch, chanceWithin, switchAt } from "../../src/batch/lanes/lane-plan.ts";

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
});

test("a batch is bought while it may be done in time; the rows left keep the time that they take online", () => {
  const at = switchAt(10 * HOUR_MS, { rows: 3600, rowsPerSecond: 1, leastMs: 1000 });
  expect(at).toBe(8.5 * HOUR_MS);
  expect(switchAt(HOUR_MS, { rows: 1, rowsPerSecond: 10, leastMs: 60_000 })).toBe(HOUR_MS - 60_000);
  expect(buysBatch(0, HOUR_MS, [])).toBe(true);
  expect(buysBatch(0, 60_000, [])).toBe(false);
  expect(buysBatch(HOUR_MS, HOUR_MS, seen(1))).toBe(false);
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
