/** `npm run bench`: figures of the product and of its peers in one run. Ratios count; the machine is noisy. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { BARE, calls, throughput } from "./against-bare.ts";
import { cache } from "./cache.ts";
import { encryption } from "./encryption.ts";
import { idle } from "./idle.ts";
import { million } from "./million.ts";
import { percentile } from "./percentile.ts";
import { prompts } from "./prompt-order.ts";
import { BenchSite } from "./site.ts";
import { peakRssBytes } from "./threads.ts";

const parts: Record<string, () => Promise<unknown>> = {
  throughput,
  calls,
  latency,
  memory,
  cache,
  prompts,
  idle,
  encryption,
  million,
};
/** Only where they are named. */
const LONG = ["million"];
const chosen = process.argv.slice(2);
for (const [name, measure] of Object.entries(parts))
  if (chosen.length === 0 ? !LONG.includes(name) : chosen.includes(name)) await measure();

async function latency(): Promise<void> {
  await using site = await BenchSite.open();
  const ours = join(site.folder, "ours.json");
  const bare = join(site.folder, "bare.json");
  await site.run(join(import.meta.dirname, "add-to-provider.ts"), [ours]).exit;
  await site.run(BARE, ["", bare, "latency"]).exit;
  console.log("\nFrom add to the provider, one job at a time, ms");
  for (const [name, file] of [
    ["gluellm", ours],
    ["bare BullMQ", bare],
  ] as const) {
    const values = JSON.parse(readFileSync(file, "utf8")) as number[];
    console.log(
      `  ${name.padEnd(14)} p50 ${percentile(values, 50).toFixed(1)}   p99 ${percentile(values, 99).toFixed(1)}   n ${values.length}`,
    );
  }
}

async function memory(): Promise<void> {
  const small = await peaks(10_000);
  const large = await peaks(100_000);
  console.log("\nPeak memory of a batch, MB");
  console.log("  rows        Redis    process RSS");
  console.log(`  10,000    ${mb(small.redis)}    ${mb(small.rss)}`);
  console.log(`  100,000   ${mb(large.redis)}    ${mb(large.rss)}`);
  console.log(
    `  ratio     ${(large.redis / small.redis).toFixed(2).padStart(7)}    ${(large.rss / small.rss).toFixed(2).padStart(7)}`,
  );
}

async function peaks(rows: number): Promise<{ redis: number; rss: number }> {
  await using site = await BenchSite.open();
  const redis = new Redis({ path: site.socketPath });
  const { child, report } = site.batch(site.writeRows("in.jsonl", rows), "out.jsonl");
  let peakRss = 0;
  const timer = setInterval(() => (peakRss = Math.max(peakRss, peakRssBytes(child.pid))), 100);
  await report;
  clearInterval(timer);
  const info = await redis.info("memory");
  redis.disconnect();
  return { redis: Number(/used_memory_peak:(\d+)/.exec(info)?.[1] ?? 0), rss: peakRss };
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1).padStart(7);
}
