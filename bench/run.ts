/** `npm run bench`: figures of the product and of its peers in one run. Ratios count; the machine is noisy. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { cache } from "./cache.ts";
import { BenchSite } from "./site.ts";

const ROWS = 20_000;
const CALLS = 10_000;
const ROUNDS = 5;
const BARE = join(import.meta.dirname, "bare-bullmq.ts");

const parts: Record<string, () => Promise<void>> = { throughput, calls, latency, memory, cache };
const chosen = process.argv.slice(2);
for (const [name, measure] of Object.entries(parts))
  if (chosen.length === 0 || chosen.includes(name)) await measure();

async function throughput(): Promise<void> {
  await using site = await BenchSite.open();
  const input = site.writeRows("in.jsonl", ROWS);
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(perSecond(await site.batch(input, `out-${round}.jsonl`).report));
    bare.push(await perSecondOf(site, BARE, [input], ["throughput"]));
  }
  tell(`Completions per second, ${ROWS} rows, 0 ms provider, concurrency 50`, [
    ["gluellm batch run (file in, file out, recorded, synced)", ours],
    ["bare BullMQ worker with the plain SDK", bare],
  ]);
}

async function calls(): Promise<void> {
  await using site = await BenchSite.open();
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await perSecondOf(site, join(import.meta.dirname, "client-calls.ts"), [String(CALLS)]));
    bare.push(await perSecondOf(site, BARE, [String(CALLS)], ["calls"]));
  }
  tell(`Client calls per second, ${CALLS}, 100 at a time, 0 ms provider, one process`, [
    ["glue.complete", ours],
    ["bare BullMQ worker, awaited by waitUntilFinished", bare],
  ]);
}

async function perSecondOf(site: BenchSite, script: string, before: string[], after: string[] = []) {
  const figures = join(site.folder, "figures.json");
  if ((await site.run(script, [...before, figures, ...after]).exit) !== 0)
    throw new Error(`${script} failed`);
  return perSecond(JSON.parse(readFileSync(figures, "utf8")));
}

/** Prints both medians and their ratio, and every round's figures. */
function tell(title: string, sides: [[string, number[]], [string, number[]]]): void {
  console.log(`\n${title}, medians of ${ROUNDS}`);
  for (const [name, values] of sides) {
    const rounds = values.map((value) => value.toFixed(0)).join(" ");
    console.log(`  ${name.padEnd(58)}${median(values).toFixed(0).padStart(6)}   (${rounds})`);
  }
  const [[, ours], [, bare]] = sides;
  console.log(`  ${"ratio".padEnd(58)}${(median(ours) / median(bare)).toFixed(2).padStart(6)}`);
}

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
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      peakRss = Math.max(peakRss, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024);
    } catch {
      // It has ended.
    }
  }, 100);
  await report;
  clearInterval(timer);
  const info = await redis.info("memory");
  redis.disconnect();
  return { redis: Number(/used_memory_peak:(\d+)/.exec(info)?.[1] ?? 0), rss: peakRss };
}

function perSecond({ total, durationMs }: { total: number; durationMs: number }): number {
  return (total / durationMs) * 1000;
}

function median(values: readonly number[]): number {
  return percentile(values, 50);
}

function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0;
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(1).padStart(7);
}
