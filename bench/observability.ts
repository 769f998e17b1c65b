/**
 * `npm run bench:observability`: what metrics, log files and traces cost a worker per completion of a 0 ms provider. A worker process for
 * each row, all alive at once; they get their calls in turn, so that what else the machine does falls on all of them.
 */
import { rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { GlueLLM } from "../src/index.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { BenchSite, cpuMsOf } from "./site.ts";

/** As the tests have it: six processes that compile everything would take minutes. */
const COMPILED = join(import.meta.dirname, "../node_modules/.cache/node-compile");
const ROUNDS = Number(process.argv[2] ?? 10);
const CALLS = 400;
const AT_A_TIME = 50;
const ALONE = 40;
const WARM_UP = 1000;

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
  ["metrics", metrics],
  ["log files, level debug", logs(`${folder}-1`)],
  ["traces, 10 % kept", traces(endpoint, 0.1)],
  ["traces, all kept", traces(endpoint, 1)],
  ["metrics, log files, traces 10 %", { ...metrics, ...logs(`${folder}-2`), ...traces(endpoint, 0.1) }],
];
const rows = variants.map(([name, env], n) => open(name, env, `bench-${n}`));

for (const row of rows) await ask(row, WARM_UP, AT_A_TIME);
for (let round = 0; round < ROUNDS; round++) {
  for (const row of rows) {
    const before = cpuMsOf(row.pid);
    await ask(row, CALLS, AT_A_TIME);
    row.cpuMs.push((cpuMsOf(row.pid) - before) / CALLS);
    row.latencyMs.push(...(await ask(row, ALONE, 1)));
  }
}
tell();
for (const { client, pid } of rows) {
  await client.close();
  process.kill(pid, "SIGKILL");
}
collector.close();
rmSync(folder, { recursive: true, force: true });

function open(name: string, env: Record<string, string>, namespace: string): Row {
  const own = {
    ...env,
    GLUELLM_NAMESPACE: namespace,
    GLUELLM_LOG_LEVEL: "error",
    NODE_COMPILE_CACHE: COMPILED,
  };
  const { pid = 0 } = site.command(["worker"], own);
  const settings = loadSettings({
    cwd: site.folder,
    env: {
      GLUELLM_REDIS_URL: `unix://${site.socketPath}`,
      SIMULATOR_BASE_URL: `${site.providerUrl}/v1`,
      GLUELLM_NAMESPACE: namespace,
    },
  });
  const client = new GlueLLM({ model: "simulator:bench", mode: "fleet", settings });
  return { name, pid, client, cpuMs: [], latencyMs: [] };
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
  const [off] = rows;
  console.log(
    `\nPer completion of a 0 ms provider, medians of ${ROUNDS} rounds of ${CALLS} calls, interleaved`,
  );
  console.log(`  ${"".padEnd(34)}CPU ms   against off   latency p50 ms   p95`);
  for (const { name, cpuMs, latencyMs } of rows) {
    // Round by round, since the machine has slow minutes.
    const ratios = cpuMs.map((value, n) => value / (off?.cpuMs[n] ?? Number.NaN));
    const more = `${((percentile(ratios, 50) - 1) * 100).toFixed(1)} %`;
    const cpu = percentile(cpuMs, 50).toFixed(3).padStart(6);
    const [p50, p95] = [50, 95].map((p) => percentile(latencyMs, p).toFixed(2));
    console.log(`  ${name.padEnd(34)}${cpu}   ${more.padStart(11)}   ${p50?.padStart(14)}   ${p95}`);
  }
}

function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0;
}
