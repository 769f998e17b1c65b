/**
 * `npm run bench:limits [-- [--quick] case…]`: how exactly the rate limits are kept and used, by the product and by its
 * peers, against a strict provider in a process of its own. A run of all cases writes
 * the tables of docs/limits.md and docs/limits-plot.svg; any other leaves its plot in the temporary folder.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { BenchSite } from "../site.ts";
import type { Bench } from "./bench.ts";
import { many } from "./fleet-cases.ts";
import { hard } from "./hard-cases.ts";
import { learning } from "./learning.ts";
import { estimates, fleets, large, peers, processes } from "./limiter-cases.ts";
import { events, faults, outage } from "./product-cases.ts";
import { SimulatorControl } from "./simulator-control.ts";
import { markdown, type Table, writeBetweenMarkers } from "./table.ts";

type Result = Table | { table: Table; plot: string };

type Cases = Record<string, (bench: Bench) => Promise<Result>>;

/** One after the other; the last two side by side, since they mostly wait. */
const STAGES: Cases[] = [
  { learning },
  { fleets },
  { peers },
  { estimates },
  { large },
  { processes },
  { many },
  { hard },
  { events },
  { outage, faults },
];
const CASES: Cases = Object.assign({}, ...STAGES);
const STEADY_MS = 12_000;
const QUICK_MS = 8000;
const DOCS = join(import.meta.dirname, "../../docs");

const { values, positionals } = parseArgs({
  options: { quick: { type: "boolean", default: false } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !CASES[name]);
if (unknown.length > 0)
  throw new Error(`no such case: ${unknown.join(", ")}; there are ${Object.keys(CASES).join(", ")}`);
const isWhole = positionals.length === 0 && !values.quick;

console.log(
  `${availableParallelism()} cores, load average ${loadavg()[0]?.toFixed(1)}, Node.js ${process.version}`,
);
const texts = new Map<string, string>();
for (const stage of STAGES) {
  const chosen = Object.keys(stage).filter((name) => positionals.length === 0 || positionals.includes(name));
  await Promise.all(chosen.map((name) => measure(name)));
}
if (isWhole) {
  const inOrder = Object.keys(CASES).map((name) => texts.get(name));
  writeBetweenMarkers(join(DOCS, "limits.md"), inOrder.join("\n"));
}

/** Each case has a Redis and a provider of its own. */
async function measure(name: string): Promise<void> {
  const startedAt = performance.now();
  await using site = await BenchSite.open();
  const redis = new Redis({ path: site.socketPath, maxRetriesPerRequest: null });
  // It is killed on purpose.
  redis.on("error", () => {});
  const { table, plot } = await CASES[name]!({
    folder: site.folder,
    redis,
    redisSocket: site.socketPath,
    provider: new SimulatorControl(site.providerUrl),
    providerUrl: site.providerUrl,
    steadyMs: values.quick ? QUICK_MS : STEADY_MS,
  }).then((result) => ("table" in result ? result : { table: result, plot: undefined }));
  redis.disconnect();
  texts.set(name, markdown(table));
  console.log(`\n${markdown(table)}(${name}: ${((performance.now() - startedAt) / 1000).toFixed(0)} s)`);
  if (plot) writeFileSync(join(isWhole ? DOCS : tmpdir(), "limits-plot.svg"), plot);
}
