import { once } from "node:events";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { BenchSite } from "./site.ts";
import { peakRssBytes } from "./threads.ts";

const ROWS = 1_000_000;

/**
 * A batch of a million rows (or as many as an argument says) that is killed (`kill -9`) half-way and started again at once: when the first call is made and the
 * next one, what memory and disk it takes, and whether each row has its one answer. About half an hour.
 */
export async function million(): Promise<void> {
  const rows = Number(process.argv.find((argument) => /^\d+$/.test(argument)) ?? ROWS);
  await using site = await BenchSite.open();
  const input = site.writeRows("in.jsonl", rows);
  const output = join(site.folder, "out.jsonl");
  const start = () => site.command(["batch", "run", input, "-o", output, "-m", "simulator:bench"], {});
  const startedAt = performance.now();
  const first = start();
  const firstMs = await untilCalls(site, 1, startedAt, 10);
  await untilCalls(site, rows / 2, startedAt, 500);
  const rssBefore = peakRssBytes(first.pid);
  const indexBytes = statSync(`${output}.index`).size;
  const closed = once(first, "close");
  first.kill("SIGKILL");
  await closed;
  const before = await callsOf(site);
  const killedAt = performance.now();
  const second = start();
  const ended = once(second, "close");
  const nextMs = await untilCalls(site, before + 1, killedAt, 10);
  let rss = rssBefore;
  const timer = setInterval(() => (rss = Math.max(rss, peakRssBytes(second.pid))), 500);
  const [code] = await ended;
  if (code !== 0) throw new Error("the batch failed");
  clearInterval(timer);
  const seconds = (performance.now() - startedAt) / 1000;
  await checkDelivery(input, output);
  const redis = new Redis({ path: site.socketPath });
  const peak = Number(/used_memory_peak:(\d+)/.exec(await redis.info("memory"))?.[1]);
  redis.disconnect();
  console.log(`\nA batch of ${rows} rows, killed (kill -9) half-way and started again at once`);
  const figures: Record<string, string> = {
    "first call after the command's start": `${firstMs.toFixed(0)} ms`,
    "next call after the kill": `${nextMs.toFixed(0)} ms`,
    "all of it": `${seconds.toFixed(0)} s, ${(rows / seconds).toFixed(0)} rows per second`,
    "peak RSS": `${(rss / 1e6).toFixed(0)} MB`,
    "peak of Redis": `${(peak / 1e6).toFixed(1)} MB`,
    index: `${(indexBytes / rows).toFixed(1)} bytes a row`,
    "calls beyond one for each row": String((await callsOf(site)) - rows),
  };
  for (const [what, value] of Object.entries(figures)) console.log(`  ${what.padEnd(40)}${value}`);
}

/** Returns how long after `since` the provider had seen so many calls. */
async function untilCalls(site: BenchSite, count: number, since: number, everyMs: number): Promise<number> {
  while ((await callsOf(site)) < count) await delay(everyMs);
  return performance.now() - since;
}

async function callsOf({ providerUrl }: BenchSite): Promise<number> {
  const reply = await fetch(`${providerUrl}/_simulator/stats`);
  return ((await reply.json()) as { requests: number }).requests;
}

/** @throws Error when the output is not one answer for each row, in their order */
async function checkDelivery(input: string, output: string): Promise<void> {
  const lines = (path: string) => createInterface({ input: createReadStream(path) })[Symbol.asyncIterator]();
  const [asked, answered] = [lines(input), lines(output)];
  for (;;) {
    const [row, answer] = await Promise.all([asked.next(), answered.next()]);
    if (row.done && answer.done) return;
    if (row.done || answer.done || idOf(row.value) !== idOf(answer.value))
      throw new Error("the output is not one answer for each row, in their order");
  }
}

function idOf(line: string): string {
  return (JSON.parse(line) as { custom_id: string }).custom_id;
}
