import { expect, test } from "vitest";
import { drawSums, randomOf, rangeOf } from "../../src/batch/quote/draws.ts";
import { sizeOf } from "../support/sample.ts";

/*
 * Whether what batches really cost lies where quotes say: simulated files with answers of many kinds of length, drawn and quoted
 * anew each time. The full run does each kind 200 times, the usual one 200 files of mixed kinds.
 */

type Random = () => number;
const normal = (random: Random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const lognormal = (median: number, spread: number) => (random: Random) =>
  Math.min(16_000, median * Math.exp(spread * normal(random)));
const either =
  (share: number, rare: (random: Random) => number, usual: (random: Random) => number) => (random: Random) =>
    random() < share ? rare(random) : usual(random);
const pareto = (power: number) => (random: Random) => Math.min(16_000, 100 * (1 - random()) ** (-1 / power));

/** Lengths of answers in tokens; models stop at some length, 16,000 here. */
const KINDS: Record<string, (random: Random) => number> = {
  even: (random) => 50 + 400 * random(),
  normal: (random) => Math.max(1, 300 + 80 * normal(random)),
  exponential: (random) => 1 - 300 * Math.log(1 - random()),
  "log-normal, spread 0.5": lognormal(200, 0.5),
  "log-normal, spread 1": lognormal(200, 1),
  "log-normal, spread 1.5": lognormal(200, 1.5),
  "refusals and answers": either(
    0.3,
    (random) => 10 + 5 * random(),
    (random) => 600 + 100 * normal(random),
  ),
  "one in ten 20 times as long": either(0.1, lognormal(4000, 0.4), lognormal(200, 0.4)),
  "power law of 2": pareto(2),
  "power law of 1.5": pareto(1.5),
};
const ROWS = [60, 500, 5000];
const SAMPLE = 30;

/** Whether the cost of the rows left lies over p90, below p10, or between. */
function outcome(kind: (random: Random) => number, rows: number, seed: number): "over" | "under" | "within" {
  const random = randomOf(seed);
  const costs = Array.from({ length: rows }, () => kind(random));
  const [sample, rest] = [costs.slice(0, SAMPLE), costs.slice(SAMPLE)];
  const cost = rest.reduce((sum, one) => sum + one, 0);
  const { p10, p90 } = rangeOf(drawSums(sample, rest.length, random));
  return cost > p90 ? "over" : cost < p10 ? "under" : "within";
}

function share(outcomes: readonly string[], ...wanted: string[]): number {
  return outcomes.filter((one) => wanted.includes(one)).length / outcomes.length;
}

test("of 200 files p10 to p90 holds the cost of 75 to 90 %, and p90 that of 90 % and more", () => {
  const kinds = Object.values(KINDS);
  const outcomes = Array.from({ length: 200 }, (_, n) => {
    const kind = kinds[n % kinds.length] as (typeof kinds)[number];
    return outcome(kind, ROWS[Math.floor(n / kinds.length) % ROWS.length] ?? 60, n);
  });
  expect(share(outcomes, "within")).toBeGreaterThanOrEqual(0.75);
  expect(share(outcomes, "within")).toBeLessThanOrEqual(0.9);
  expect(share(outcomes, "within", "under")).toBeGreaterThanOrEqual(0.9);
});

test("the same for each kind of answers and size of file", () => {
  const files = sizeOf(200, 0);
  for (const [name, kind] of Object.entries(KINDS))
    for (const rows of files > 0 ? ROWS : []) {
      const outcomes = Array.from({ length: files }, (_, n) => outcome(kind, rows, 1000 * rows + n));
      const [within, below] = [share(outcomes, "within"), share(outcomes, "within", "under")];
      console.log(`${name}, ${rows} rows: p10 to p90 ${within}, up to p90 ${below}`);
      // Of 200 files a share varies by 2 % by itself.
      expect([within >= 0.75, within <= 0.93, below >= 0.88], `${name}, ${rows} rows`).toEqual([
        true,
        true,
        true,
      ]);
    }
});

test("rows that cost all the same are quoted exactly, no row left costs nothing, one row left varies like a row", () => {
  expect(rangeOf(drawSums(Array(30).fill(7), 1000, randomOf(1)))).toEqual({
    p10: 7000,
    p50: 7000,
    p90: 7000,
  });
  expect(rangeOf(drawSums([1, 2, 3], 0, randomOf(1)))).toEqual({ p10: 0, p50: 0, p90: 0 });
  const { p10, p90 } = rangeOf(
    drawSums(
      Array.from({ length: 30 }, (_, n) => n),
      1,
      randomOf(1),
    ),
  );
  expect([p10 < 6, p90 > 24]).toEqual([true, true]);
});
