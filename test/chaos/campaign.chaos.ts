import { execFileSync } from "node:child_process";
import { appendFileSync, writeFileSync } from "node:fs";
import { expect, inject, test } from "vitest";
import { pagesOfReport, REPORT } from "./report.ts";
import { liveRound, type RoundReport } from "./round.ts";

/* `npm run test:chaos -- --deaths N --seed S` is a campaign, which adds its rounds to the report. */
const DEATHS_OF_ROUND = 40;
const ROUND = {
  workers: ["module", "module", "models"],
  work: { rows: 200, cheapRows: 20, servedRows: 40, toolJobs: 8, runs: 6, everyMs: 15_000 },
} as const;

test(
  "a fleet with work of every kind, under blows: nothing is lost, wrong, or paid again",
  async () => {
    const asked = inject("deaths");
    const found: RoundReport[] = [];
    for (let seed = inject("seed"), left = asked || DEATHS_OF_ROUND; left > 0; seed++) {
      const report = await liveRound({ ...ROUND, seed, deaths: Math.min(left, DEATHS_OF_ROUND) });
      console.log(JSON.stringify(report));
      if (asked) appendFileSync(REPORT, `${JSON.stringify({ commit: commitOf(), ...report })}\n`);
      found.push(report);
      left -= Object.values(report.deaths).reduce((sum, deaths) => sum + deaths, 0);
    }
    if (asked) for (const { path, right } of pagesOfReport()) writeFileSync(path, right);
    expect(
      found.filter(({ lost, wrong, paidAgain }) => lost.length + wrong.length + paidAgain.length > 0),
    ).toEqual([]);
  },
  Number.POSITIVE_INFINITY,
);

function commitOf(): string {
  return execFileSync("git", ["rev-parse", "--short=8", "HEAD"], { encoding: "utf8" }).trim();
}
