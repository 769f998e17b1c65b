/**
 * `npm run bench:lanes`: what `--by` costs, and whether it is in time, over 100 days of a simulation of events in which the code that runs
 * decides; writes the table of docs/benchmarks.md and docs/half-price.md. With `real` it lives a few days with the real system instead,
 * hours passing 100 times faster, beside the same days of the simulation: about nine minutes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HOUR_MS, MINUTE_MS } from "./days.ts";
import { liveRealDays } from "./real-days.ts";
import { laneTable, SEASON, withLaneTable } from "./table.ts";

const DOCS = ["benchmarks.md", "half-price.md"].map((name) => join(import.meta.dirname, "../../docs", name));
const OUTAGES_MS = [10 * MINUTE_MS, 0.5 * HOUR_MS, HOUR_MS];

if (process.argv[2] === "real") {
  for (const { name, rows, real, simulated } of await liveRealDays()) {
    const cells = [name, `${rows} rows`, told("real", real), told("simulated", simulated)];
    console.log(cells.join(" | "));
  }
} else {
  console.log(`${SEASON.days} days, an outage of 10 minutes at the reserve on 5 % of them\n\n${laneTable()}`);
  for (const outageMs of OUTAGES_MS)
    console.log(
      `1000 days, outages of ${outageMs / MINUTE_MS} minutes\n\n${laneTable({ days: 1000, outageMs })}`,
    );
  for (const path of DOCS) writeFileSync(path, withLaneTable(readFileSync(path, "utf8")));
}

function told(name: string, { cost, isInTime }: { cost: number; isInTime: boolean }): string {
  return `${name} ${cost.toFixed(3)}${isInTime ? "" : ", late"}`;
}
