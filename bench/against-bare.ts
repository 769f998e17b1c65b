/** What is measured against a bare BullMQ worker with the same calls, in turn. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { percentile } from "./percentile.ts";
import { BenchSite } from "./site.ts";

const ROWS = 20_000;
const CALLS = 10_000;
const ROUNDS = 5;
export const BARE = join(import.meta.dirname, "bare-bullmq.ts");

/** Returns how many rows a batch makes for one of a bare worker. */
export async function throughput(): Promise<number> {
  await using site = await BenchSite.open();
  const input = site.writeRows("in.jsonl", ROWS);
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(perSecond(await site.batch(input, `out-${round}.jsonl`, "--concurrency", "50").report));
    bare.push(await perSecondOf(site, BARE, [input], ["throughput"]));
  }
  return tell(`Completions per second, ${ROWS} rows, 0 ms provider, concurrency 50`, [
    ["gluellm batch run (file in, file out, recorded, synced)", ours],
    ["bare BullMQ worker with the plain SDK", bare],
  ]);
}

/** The same of calls that somebody awaits. */
export async function calls(): Promise<number> {
  await using site = await BenchSite.open();
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await perSecondOf(site, join(import.meta.dirname, "client-calls.ts"), [String(CALLS)]));
    bare.push(await perSecondOf(site, BARE, [String(CALLS)], ["calls"]));
  }
  return tell(`Client calls per second, ${CALLS}, 100 at a time, 0 ms provider, one process`, [
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

/**
 * Prints both medians, every round's figures, and the median of the rounds' ratios, which it returns: what is run one after the other has
 * the same machine, whose speed may be another one a minute later.
 */
function tell(title: string, sides: [[string, number[]], [string, number[]]]): number {
  console.log(`\n${title}, medians of ${ROUNDS}`);
  for (const [name, values] of sides) {
    const rounds = values.map((value) => value.toFixed(0)).join(" ");
    console.log(`  ${name.padEnd(58)}${median(values).toFixed(0).padStart(6)}   (${rounds})`);
  }
  const [[, ours], [, bare]] = sides;
  const ratios = ours.map((value, round) => value / (bare[round] ?? Number.NaN));
  const ratio = median(ratios);
  const rounds = ratios.map((value) => value.toFixed(2)).join(" ");
  console.log(`  ${"ratio".padEnd(58)}${ratio.toFixed(2).padStart(6)}   (${rounds})`);
  return ratio;
}

function perSecond({ total, durationMs }: { total: number; durationMs: number }): number {
  return (total / durationMs) * 1000;
}

function median(values: readonly number[]): number {
  return percentile(values, 50);
}
