import { expect, test } from "vitest";
import { trendOf, verdictOf } from "../../bench/soak/trend.ts";
import { randomOf } from "../../src/batch/quote/draws.ts";

/** Samples of 45 minutes. */
const TIMES = Array.from({ length: 180 }, (_, n) => n * 15_000);

/** A line that gains so much in an hour, with noise of up to 5 of 100, in which each value is more or less like the one before. */
function series(perHour: number, likeness: number): number[] {
  const random = randomOf(1);
  let noise = 0;
  return TIMES.map((ms) => {
    noise = likeness * noise + (1 - likeness) * (random() * 10 - 5);
    return 100 + noise + (perHour * ms) / 3_600_000;
  });
}

test("a slope is told with an interval that has it", () => {
  for (const perHour of [0, 5, 50]) {
    const { low, high } = trendOf(TIMES, series(perHour, 0.5));
    expect(low).toBeLessThanOrEqual(perHour + 1);
    expect(high).toBeGreaterThanOrEqual(perHour - 1);
    expect(high - low).toBeLessThan(10);
  }
});

test("what grows by a tenth in an hour grows; noise, what shrinks and what stands still are flat", () => {
  expect(verdictOf(trendOf(TIMES, series(10, 0.5)))).toBe("grows");
  expect(verdictOf(trendOf(TIMES, series(0, 0.5)))).toBe("flat");
  expect(verdictOf(trendOf(TIMES, series(-50, 0.5)))).toBe("flat");
  expect(
    verdictOf(
      trendOf(
        TIMES,
        TIMES.map(() => 7),
      ),
    ),
  ).toBe("flat");
  expect(
    verdictOf(
      trendOf(
        TIMES,
        TIMES.map(() => 0),
      ),
    ),
  ).toBe("flat");
});

test("neighbours that are alike make the interval wider", () => {
  const width = ({ low, high }: { low: number; high: number }) => high - low;
  const noisy = series(0, 0);
  const blocks = noisy.map((_, n) => noisy[n - (n % 10)] ?? 0);
  expect(width(trendOf(TIMES, blocks))).toBeGreaterThan(2 * width(trendOf(TIMES, noisy)));
});
