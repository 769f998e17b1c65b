import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { PROFILES } from "../../src/shared/profiles.ts";

const LIMITS = readFileSync(join(import.meta.dirname, "../../docs/limits.md"), "utf8");

test("the table of profiles is the code's", () => {
  const rows = [...LIMITS.matchAll(/^\| [^|]+ \| (\d+)(?: %)? \| (\d+)(?: %)? \| (\d+)(?: %)? \|$/gm)];
  const documented = rows.map(([, ...cells]) => cells.map(Number));
  const profiles = Object.values(PROFILES);
  expect(documented).toEqual([
    profiles.map(({ maxConcurrency }) => maxConcurrency),
    profiles.map(({ maxJobsInTools }) => maxJobsInTools),
    profiles.map(({ firstConcurrency }) => firstConcurrency),
    profiles.map(({ maxEventLoopLagMs }) => maxEventLoopLagMs),
    profiles.map(({ memoryGuard }) => memoryGuard * 100),
    profiles.map(({ quantumMs }) => quantumMs),
  ]);
});
