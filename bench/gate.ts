/**
 * `npm run bench:gate`: the ratios of today beside those of bench/ratios.json, about four minutes; ends with 1 where one is more than 10 % worse.
 * With `--record` it writes them down instead, with the machine that they were measured on. It is for a quiet machine, and no part of the tests.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { calls, throughput } from "./against-bare.ts";

interface Recorded {
  /** What they were measured on, with its load average before and after; absent before `--record` told it. */
  machine?: { at: string; node: string; cores: number; load: number[] };
  ratios: Record<string, number>;
}

const FILE = join(import.meta.dirname, "ratios.json");
const TOLERANCE = 0.1;

const loadBefore = loadavg()[0] ?? 0;
const ratios: Recorded["ratios"] = { rows: await throughput(), calls: await calls() };
const machine = {
  at: new Date().toISOString(),
  node: process.version,
  cores: availableParallelism(),
  load: [loadBefore, loadavg()[0] ?? 0],
};
console.log(
  `\n${machine.cores} cores, load average ${machine.load.map((load) => load.toFixed(1)).join(" to ")}`,
);
if (process.argv.includes("--record")) {
  for (const [name, ratio] of Object.entries(ratios)) ratios[name] = Number(ratio.toFixed(3));
  writeFileSync(FILE, `${JSON.stringify({ machine, ratios } satisfies Recorded, null, 2)}\n`);
} else {
  const recorded = JSON.parse(readFileSync(FILE, "utf8")) as Recorded;
  for (const [name, ratio] of Object.entries(ratios)) {
    const before = recorded.ratios[name] ?? 0;
    const isWorse = ratio < before * (1 - TOLERANCE);
    if (isWorse) process.exitCode = 1;
    console.log(
      `${name}: ${ratio.toFixed(2)}, recorded ${before.toFixed(2)}${isWorse ? ": more than 10 % worse" : ""}`,
    );
  }
}
