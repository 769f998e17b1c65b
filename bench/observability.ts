/**
 * `npm run bench:observability`: what metrics, log files and traces cost a worker per completion of a 0 ms provider. A worker process for
 * each row, all alive at once; they get short helpings of calls in turn, in an order that changes, so that what else the machine does falls
 * on all of them. Two processes of the same code differ by some percent for as long as they live, so that all of them are started several
 * times; two rows have everything off, and how far they are apart says how good the figures are. At last V8's profiler says which part of a
 * worker's samples is in the code of each: that is good on a busy machine, too. Arguments: how many starts, and how the names of rows begin
 * that are measured beside those two; default 5, all. With 0 starts there is the profile alone.
 */
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { GlueLLM } from "../src/index.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { percentile } from "./percentile.ts";
import { sharesOf } from "./profile-share.ts";
import { BenchSite } from "./site.ts";
import { threadsMsOf } from "./threads.ts";

/** As the tests have it: six processes that compile everything would take minutes. */
const COMPILED = join(import.meta.dirname, "../node_modules/.cache/node-compile");
const [starts = "5", ...chosen] = process.argv.slice(2);
const ROUNDS = 20;
const CALLS = 100;
const AT_A_TIME = 50;
const ALONE = 5;
const WARM_UP = 2000;
const PROFILED = 4000;

const metrics = { GLUELLM_ENABLE_METRICS: "true" };
const logs = (folder: string) => ({ GLUELLM_LOG_DIR: folder, GLUELLM_LOG_FILE_LEVEL: "debug" });
const traces = (endpoint: string, ratio: number) => ({
  GLUELLM_ENABLE_TRACING: "true",
  GLUELLM_OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  GLUELLM_TRACING_SAMPLE_RATIO: String(ratio),
});

/** A worker process and its client. */
interface Row {
  name: string;
  pid: number;
  client: GlueLLM;
  /** Has it drain. */
  end: () => Promise<void>;
  /** Per completion: the worker's processor time, in ms. */
  cpuMs: number[];
  /** Of calls one at a time, in ms. */
  latencyMs: number[];
}

await using site = await BenchSite.open();
// What the workers write and send goes nowhere.
const collector = createServer((request, response) => {
  request.resume().on("end", () => response.writeHead(200, { "content-type": "application/json" }).end("{}"));
});
await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
const folder = join(site.folder, "logs");
const variants: [string, Record<string, string>][] = [
  ["off", {}],
  ["off, once more", {}],
  ["metrics", metrics],
  ["log files, level debug", logs(`${folder}-1`)],
  ["traces, 10 % kept", traces(endpoint, 0.1)],
  ["traces, all kept", traces(endpoint, 1)],
  ["metrics, log files, traces 10 %", { ...metrics, ...logs(`${folder}-2`), ...traces(endpoint, 0.1) }],
];
const measured = variants.filter(
  ([name]) => chosen.length === 0 || [...chosen, "off"].some((part) => name.startsWith(part)),
);
const figures = new Map(
  measured.map(([name]) => [name, { cpuMs: [] as number[], latencyMs: [] as number[] }]),
);
for (let start = 0; start < Number(starts); start++) await measure(start);
if (figures.size > 0 && Number(starts) > 0) tell();
for (const atATime of [AT_A_TIME, 1]) await profile(atATime);
collector.close();
rmSync(folder, { recursive: true, force: true });

/** Starts all processes once. */
async function measure(start: number): Promise<void> {
  const rows = measured.map(([name, env], n) => open(name, env, `bench-${start}-${n}`));
  for (const row of rows) await ask(row, WARM_UP, AT_A_TIME);
  for (let round = 0; round < ROUNDS; round++) {
    // Each row is first once, and by turns the next of each other one.
    const from = round % rows.length;
    const turned = [...rows.slice(from), ...rows.slice(0, from)];
    for (const row of round % 2 ? turned.reverse() : turned) {
      const before = threadsMsOf(row.pid);
      await ask(row, CALLS, AT_A_TIME);
      row.cpuMs.push((threadsMsOf(row.pid) - before) / CALLS);
      row.latencyMs.push(...(await ask(row, ALONE, 1)));
    }
  }
  for (const { name, client, pid, cpuMs, latencyMs } of rows) {
    figures.get(name)?.cpuMs.push(percentile(cpuMs, 50));
    figures.get(name)?.latencyMs.push(...latencyMs);
    await client.close();
    process.kill(pid, "SIGKILL");
  }
}

/** All three on, a tenth of the traces kept. */
async function profile(atATime: number): Promise<void> {
  const profiles = join(site.folder, `profile-${atATime}`);
  const [, env = {}] = variants.at(-1) ?? [];
  const NODE_OPTIONS = `--cpu-prof --cpu-prof-interval=200 --cpu-prof-dir=${profiles}`;
  const row = open("profile", { ...env, NODE_OPTIONS }, `bench-profile-${atATime}`);
  await ask(row, PROFILED, atATime);
  await row.client.close();
  await row.end();
  const shares = sharesOf(profiles);
  const told = [...shares].map(([part, share]) => `${part} ${(share * 100).toFixed(1)} %`).join(", ");
  const together = [...shares.values()].reduce((sum, share) => sum + share, 0);
  console.log(`\n${atATime} at a time, in proportion to the rest of the worker's CPU: ${told}`);
  console.log(`  together ${(together * 100).toFixed(1)} %`);
}

function open(name: string, env: Record<string, string>, namespace: string): Row {
  const own = {
    ...env,
    GLUELLM_NAMESPACE: namespace,
    GLUELLM_LOG_LEVEL: "error",
    NODE_COMPILE_CACHE: COMPILED,
  };
  const worker = site.command(["worker"], own);
  const { pid = 0 } = worker;
  const settings = loadSettings({
    cwd: site.folder,
    env: {
      GLUELLM_REDIS_URL: `unix://${site.socketPath}`,
      SIMULATOR_BASE_URL: `${site.providerUrl}/v1`,
      GLUELLM_NAMESPACE: namespace,
    },
  });
  const client = new GlueLLM({ model: "simulator:bench", mode: "fleet", settings });
  const end = async () => {
    worker.kill("SIGTERM");
    await once(worker, "close");
  };
  return { name, pid, client, end, cpuMs: [], latencyMs: [] };
}

/** Returns how long each call took. */
async function ask({ client }: Row, calls: number, atATime: number): Promise<number[]> {
  const took: number[] = [];
  let left = calls;
  const work = async () => {
    while (left-- > 0) {
      const startedAt = performance.now();
      await client.complete("What is 2 and 2?", { maxTokens: 16 });
      took.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: atATime }, work));
  return took;
}

function tell(): void {
  console.log(
    `\nPer completion of a 0 ms provider: medians of ${ROUNDS} helpings of ${CALLS} calls, medians of ${starts} starts (least to most)`,
  );
  console.log(`  ${"".padEnd(34)}CPU ms   against off                     latency p50 ms   p95`);
  const offs = [...figures].filter(([name]) => name.startsWith("off")).map(([, { cpuMs }]) => cpuMs);
  for (const [name, { cpuMs, latencyMs }] of figures) {
    // Start by start, since the machine has slow minutes.
    const ratios = cpuMs.map(
      (cpu, n) => cpu / (offs.reduce((sum, off) => sum + (off[n] ?? 0), 0) / offs.length),
    );
    const [least, more, most] = [0, 50, 100].map((p) => ((percentile(ratios, p) - 1) * 100).toFixed(1));
    const against = `${more?.padStart(6)} % (${least} to ${most})`.padEnd(32);
    const [p50, p95] = [50, 95].map((p) => percentile(latencyMs, p).toFixed(2));
    const cpu = percentile(cpuMs, 50).toFixed(3).padStart(6);
    console.log(`  ${name.padEnd(34)}${cpu}   ${against}${p50?.padStart(14)}   ${p95}`);
  }
}
