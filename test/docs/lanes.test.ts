import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { liveSeason } from "../../bench/lanes/days.ts";
import { DEADLINES_MS, SEASON, withLaneTable } from "../../bench/lanes/table.ts";

const DOCS = join(import.meta.dirname, "../../docs");
const HOUR_MS = 3_600_000;

test.each(["benchmarks.md", "half-price.md"])(
  "%s has what --by costs as the code decides (npm run bench:lanes)",
  (name) => {
    const text = readFileSync(join(DOCS, name), "utf8");
    expect(text).toBe(withLaneTable(text));
  },
);

test.each(DEADLINES_MS)(
  "by %d ms: cheaper than online, as much in time; a long time costs 0.6 of it at most",
  (byMs) => {
    const { cost, inTime, worseDays } = liveSeason({ ...SEASON, byMs });
    expect(worseDays).toBe(0);
    expect(inTime.by).toBeGreaterThanOrEqual(0.99);
    expect(inTime.flex).toBeGreaterThanOrEqual(0.99);
    for (const one of [cost.by, cost.flex]) expect(one).toBeLessThanOrEqual(byMs >= 6 * HOUR_MS ? 0.6 : 1);
  },
);
