import { describe, expect, test } from "vitest";
import { runFleet, useOf } from "../support/rate-limited-fleet.ts";
import { sizeOf } from "../support/sample.ts";

/** The share of a limit that is used: 99 % on an idle machine, and none that could be told of a busy one. */
const FLOOR = sizeOf(0.8, 0);

test("two processes stay within requests per minute and use them", async () => {
  const rpm = 3000;
  const { seen, results } = await runFleet(2, { rpm });

  expect(seen.rejected).toBe(0);
  expect(useOf(seen.accepted, rpm, seen.arrivalsMs)).toBeGreaterThan(FLOOR);
  expect(results.every(({ sent }) => sent > sizeOf(10, 0))).toBe(true);
});

test("two processes stay within a limit too small for a bucket", async () => {
  const rpm = 75;
  const { seen } = await runFleet(2, { rpm });

  expect(seen.rejected).toBe(0);
  expect(seen.accepted).toBeGreaterThanOrEqual(sizeOf(3, 1));
});

test("requests and tokens, log-normal sizes, estimates 25 % off either way", async () => {
  const limits = { rpm: 3000, tpm: 1_500_000, latencyMs: 50 };
  const { seen } = await runFleet(2, limits, { medianTokens: 420, estimateFactors: [0.75, 1.25] });

  expect(seen.rejected).toBe(0);
  const uses = [
    useOf(seen.accepted, limits.rpm, seen.arrivalsMs),
    useOf(seen.tokens, limits.tpm, seen.arrivalsMs),
  ];
  expect(Math.max(...uses)).toBeGreaterThan(FLOOR);
});

test.each([
  { title: "twice too high", factor: 2 },
  { title: "40 % too low", factor: 0.6 },
])("estimates $title are settled", async ({ factor }) => {
  const limits = { tpm: 1_200_000, latencyMs: 100 };
  const { seen } = await runFleet(2, limits, { medianTokens: 400, estimateFactors: [factor, factor] });

  expect(seen.rejected).toBe(0);
  expect(useOf(seen.tokens, limits.tpm, seen.arrivalsMs)).toBeGreaterThan(FLOOR);
});

test.each([
  { title: "requests", limits: { rpm: 6000 }, medianTokens: 1 },
  { title: "tokens", limits: { tpm: 3_600_000 }, medianTokens: 400 },
])(
  "bursts of $title after a rest fit the provider's bucket",
  { tags: "long" },
  async ({ limits, medianTokens }) => {
    const order = { medianTokens, slots: 15, restMs: 1250, durationMs: 5000 };
    const { seen } = await runFleet(2, limits, order);

    expect(seen.rejected).toBe(0);
    expect(seen.accepted).toBeGreaterThan(sizeOf(150, 0));
  },
);

describe("processes whose clocks are wrong", () => {
  const HOUR_MS = 3_600_000;
  const durationMs = 5000;
  /** The provider bears a slow machine's bursts, and still refuses a rate that is doubled. */
  const burstSeconds = 2;

  test.each([
    { title: "by hours", clocks: [[0], [HOUR_MS], [-5 * HOUR_MS]] },
    { title: "and jump by an hour or two", clocks: [[0], [0, HOUR_MS, -HOUR_MS], [HOUR_MS, 0]] },
    { title: "and go twice too fast", clocks: [[0], [0, 1000, 2000, 3000, 4000, 5000]] },
  ])("$title neither stall nor pass the limit", { tags: "long" }, async ({ clocks }) => {
    const rpm = 600;
    const processes = clocks.map((clockErrorsMs) => ({ clockErrorsMs }));
    const { seen, results } = await runFleet(
      processes,
      { rpm, burstSeconds },
      { budget: { rpm }, durationMs },
    );

    expect(seen.rejected).toBe(0);
    expect(seen.accepted, "no standstill").toBeGreaterThan((0.5 * rpm * durationMs) / 60_000);
    expect(results.every(({ sent }) => sent > sizeOf(5, 0))).toBe(true);
  });

  test("share a limit too small for a bucket", async () => {
    const rpm = 75;
    const processes = [{ clockErrorsMs: [0, HOUR_MS] }, { clockErrorsMs: [-HOUR_MS, 0] }];
    const { seen } = await runFleet(processes, { rpm, burstSeconds }, { budget: { rpm }, durationMs });

    expect(seen.rejected).toBe(0);
    expect(seen.accepted).toBeGreaterThanOrEqual(sizeOf(4, 1));
  });
});
