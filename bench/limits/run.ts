/**
 * `npm run bench:limits [-- [--quick] case…]`: how exactly the rate limits are kept and used, by the product and by its
 * peers, against a strict provider in a process of its own. A run of all cases writes docs/limits.md and its plot.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { BenchSite } from "../site.ts";
import type { Bench } from "./bench.ts";
import { learning } from "./learning.ts";
import { estimates, fleets, large, peers, processes } from "./limiter-cases.ts";
import { events, faults, outage } from "./product-cases.ts";
import { SimulatorControl } from "./simulator-control.ts";
import { markdown, type Table, writeBetweenMarkers } from "./table.ts";

type Result = Table | { table: Table; plot: string };

const CASES: Record<string, (bench: Bench) => Promise<Result>> = {
  learning,
  fleets,
  peers,
  estimates,
  large,
  processes,
  events,
  outage,
  faults,
};
const STEADY_MS = 15_000;
const QUICK_MS = 8000;
const DOCS = join(import.meta.dirname, "../../docs");

const { values, positionals } = parseArgs({
  options: { quick: { type: "boolean", default: false }, plot: { type: "string" } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !CASES[name]);
if (unknown.length > 0)
  throw new Error(`no such case: ${unknown.join(", ")}; there are ${Object.keys(CASES).join(", ")}`);
const isWhole = positionals.length === 0 && !values.quick;

await using site = await BenchSite.open();
const redis = new Redis({ path: site.socketPath, maxRetriesPerRequest: null });
redis.on("error", () => {});
const bench: Bench = {
  folder: site.folder,
  redis,
  redisSocket: site.socketPath,
  provider: new SimulatorControl(site.providerUrl),
  providerUrl: site.providerUrl,
  steadyMs: values.quick ? QUICK_MS : STEADY_MS,
};
const tables: string[] = [];
for (const [name, measure] of Object.entries(CASES)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const startedAt = performance.now();
  const result = await measure(bench);
  const { table, plot } = "table" in result ? result : { table: result, plot: undefined };
  const text = markdown(table);
  tables.push(text);
  console.log(`\n${text}(${name}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s)`);
  const plotFile = isWhole ? join(DOCS, "limits-plot.svg") : values.plot;
  if (plot && plotFile) writeFileSync(plotFile, plot);
}
redis.disconnect();
if (isWhole) writeBetweenMarkers(join(DOCS, "limits.md"), tables.join("\n"));
