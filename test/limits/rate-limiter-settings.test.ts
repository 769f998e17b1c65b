import { expect, test } from "vitest";
import { bucketSettings } from "../../src/limits/rate-limiter/bucket-settings.ts";
import { storedSettings } from "../../src/limits/rate-limiter/fleet-bucket.ts";

const PER_MINUTE = [0.5, 1, 3, 10, 60, 61, 85, 86, 100, 500, 6000, 30_000, 3_600_000, 30_000_000, 1e12];
const BURST_SECONDS = [0.1, 0.5, 1, 2, 10, 60];
const CASES = PER_MINUTE.flatMap((perMinute) =>
  BURST_SECONDS.map((burstSeconds) => {
    const settings = bucketSettings(perMinute, burstSeconds);
    return { perMinute, burstSeconds, ...settings, stored: storedSettings(settings) };
  }),
);

test("a full bucket and one part-used quantum of each of five processes fit the provider's bucket", () => {
  for (const { perMinute, burstSeconds, maximum, quantum, isPaced } of CASES) {
    if (isPaced) continue;
    const unused = 5 * (quantum - 1);
    expect(maximum + unused, `${perMinute}/min, ${burstSeconds} s`).toBeLessThanOrEqual(
      (perMinute / 60) * burstSeconds,
    );
    expect(quantum).toBeLessThanOrEqual(maximum);
  }
});

test("amounts are whole, and the refill is the rate exactly", () => {
  for (const { perMinute, quantum, stored } of CASES.filter(({ isPaced }) => !isPaced)) {
    const { reservoirIncreaseAmount: amount, reservoirIncreaseInterval: intervalMs } = stored;
    for (const units of [amount, quantum, stored.reservoirIncreaseMaximum]) {
      expect(Number.isSafeInteger(units)).toBe(true);
      expect(units).toBeGreaterThan(0);
    }
    expect((amount! / intervalMs!) * 60_000).toBeCloseTo(perMinute, 3);
  }
});

test("limits too small for a bucket are paced, never faster than the rate", () => {
  for (const { perMinute, stored } of CASES.filter(({ isPaced }) => isPaced)) {
    expect(stored.minTime).toBeGreaterThanOrEqual(60_000 / perMinute);
  }
  expect(storedSettings(bucketSettings(10))).toMatchObject({ minTime: 6100, reservoir: null });
});

test("the measured settings for 6,000 requests per minute", () => {
  expect(bucketSettings(6000)).toMatchObject({ quantum: 5, maximum: 70 });
  expect(storedSettings(bucketSettings(6000))).toEqual({
    reservoir: 0,
    reservoirIncreaseAmount: 5,
    reservoirIncreaseInterval: 50,
    reservoirIncreaseMaximum: 70,
    minTime: 0,
  });
  expect(bucketSettings(6000, 60)).toMatchObject({ quantum: 5, maximum: 5820 });
  expect(bucketSettings(6000, 1, 20)).toMatchObject({ quantum: 2, maximum: 70 });
  expect(bucketSettings(6000, 1, 1000), "at most a sixth of the headroom").toMatchObject({ quantum: 5 });
});
