/**
 * `npm run soak [-- --minutes M]`: a small fleet – two workers, the API, a client, Redis and a provider of its own – under a steady load of every
 * kind of work, with what expires in days expiring in a minute. Its processes and its Redis are looked at all the while; at the end each series has a slope, and every key
 * that is left has a reason and an expiry. It ends with 1 when something grows, has none, or came out otherwise than expected. `--record` writes
 * the samples to bench/soak/report.jsonl.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { BenchSite } from "../site.ts";
import { faultsOf, kindsIn } from "./keys.ts";
import type { LoadFigures } from "./load.ts";
import type { Held } from "./probe.ts";
import { tell } from "./tell.ts";

/** The fleet at a time: what a process holds, Redis' connections and memory, its keys by kind, and the load since the sample before. */
export interface Sample {
  at: number;
  processes: Record<string, Held>;
  redis: { connections: number; bytes: number };
  keys: Record<string, number>;
  load: Omit<LoadFigures, "at" | "failures">;
}

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, record: { type: "boolean", default: false } },
});
const minutes = Number(values.minutes);
const EVERY_MS = 15_000;
/** A shorter run is still warming up: its slopes are told, and not judged. */
const JUDGED_MINUTES = 20;
/** All that can be set to live shorter. */
const LIFE_SECONDS = 60;
/** Until what has ended is swept: it is looked for every 54 s. */
const SWEPT_MS = (LIFE_SECONDS + 2 * 54) * 1000;
/** The longest life of what a process that has ended leaves. */
const LEFT_MS = 80_000;
const FAST = Object.fromEntries(
  ["COMPLETED", "FAILED", "RESULTS", "CONVERSATIONS", "RUNS", "HISTORY"].map((name) => [
    `GLUELLM_RETENTION_${name}`,
    String(LIFE_SECONDS),
  ]),
);

await using site = await BenchSite.open();
const redis = new Redis({ path: site.socketPath });
const probes = join(site.folder, "probes");
mkdirSync(probes);
Object.assign(site.env, FAST, {
  CACHE_TTL: String(LIFE_SECONDS),
  GLUELLM_HISTORY: "true",
  GLUELLM_PRICES: JSON.stringify({ "simulator:priced": { inputPerMillion: 1, outputPerMillion: 1 } }),
  GLUELLM_ENABLE_METRICS: "true",
  GLUELLM_LOG_LEVEL: "error",
  NODE_OPTIONS: `--import=${join(import.meta.dirname, "probe.ts")}`,
  SOAK_PROBES: probes,
});
const module = join(import.meta.dirname, "module.ts");
const api = await site.serveApi("--module", module);
const second = site.command(["worker", "--module", module], {});
const figures = join(site.folder, "load.jsonl");
writeFileSync(figures, "");
const load = site.run(join(import.meta.dirname, "load.ts"), [figures, site.folder], {
  OPENAI_BASE_URL: api.url,
  OPENAI_API_KEY: api.key,
});
const processes: Record<string, ChildProcess> = {
  "worker 1": api.worker,
  "worker 2": second,
  api: api.child,
  client: load.child,
};

const machine = { cores: availableParallelism(), load: loadavg()[1], node: process.version, minutes };
const report = join(values.record ? import.meta.dirname : site.folder, "report.jsonl");
writeFileSync(report, `${JSON.stringify(machine)}\n`);
const samples: Sample[] = [];
const failures: string[] = [];
let linesRead = 0;
const startedAt = Date.now();
while (
  Date.now() < startedAt + minutes * 60_000 &&
  Object.values(processes).every(({ exitCode }) => exitCode === null)
) {
  await delay(EVERY_MS);
  const one = await sample();
  samples.push(one);
  appendFileSync(report, `${JSON.stringify(one)}\n`);
}
load.child.kill();
if ((await load.exit) !== 0) failures.push("the load ended with a failure");
readLoad();
const died = Object.entries(processes).filter(
  ([name, { exitCode }]) => name !== "client" && exitCode !== null,
);
failures.push(...died.map(([name, { exitCode }]) => `${name} ended with ${exitCode}`));
await delay(SWEPT_MS);
const ended = once(second, "close");
second.kill();
await Promise.all([ended, api.close()]);
await delay(LEFT_MS);
failures.push(...(await faultsOf(redis)));
const isFlat = tell(samples) || minutes < JUDGED_MINUTES;
if (failures.length > 0)
  console.log(`\nwhat processes told:\n${readFileSync(site.logPath, "utf8").slice(-5000)}`);
for (const failure of failures) console.log(`  FAILED: ${failure}`);
console.log(`${machine.cores} cores, load average ${machine.load?.toFixed(1)}, ${machine.node}`);
redis.disconnect();
process.exitCode = isFlat && failures.length === 0 ? 0 : 1;

async function sample(): Promise<Sample> {
  const info = await redis.info();
  const held = Object.entries(processes).flatMap(([name, { pid }]) => {
    const one = readHeld(pid);
    return one ? [[name, one] as const] : [];
  });
  return {
    at: Date.now(),
    processes: Object.fromEntries(held),
    redis: { connections: numberIn(info, "connected_clients"), bytes: numberIn(info, "used_memory") },
    keys: await kindsIn(redis),
    load: readLoad(),
  };
}

function readHeld(pid: number | undefined): Held | undefined {
  try {
    return JSON.parse(readFileSync(join(probes, `${pid}.json`), "utf8")) as Held;
  } catch {
    // It has not told yet.
    return undefined;
  }
}

/** Returns what the load has told since the last time: sums, and the worst of the latencies' percentiles. */
function readLoad(): Sample["load"] {
  const lines = readFileSync(figures, "utf8").split("\n").slice(linesRead, -1);
  linesRead += lines.length;
  const told = lines.map((line) => JSON.parse(line) as LoadFigures);
  failures.push(...told.flatMap((line) => line.failures));
  const ended: Record<string, number> = {};
  for (const line of told)
    for (const [kind, n] of Object.entries(line.ended)) ended[kind] = (ended[kind] ?? 0) + n;
  const worst = (read: (line: LoadFigures) => number) => Math.max(0, ...told.map(read));
  return { ended, p50Ms: worst(({ p50Ms }) => p50Ms), p95Ms: worst(({ p95Ms }) => p95Ms) };
}

function numberIn(info: string, field: string): number {
  return Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1] ?? 0);
}
