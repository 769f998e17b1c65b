/**
 * `npm run bench:peers [-- [--rounds N] [--quick] name…]`: what a user would write instead, on the same file, provider and limits: rows per second,
 * 429s, what a kill -9 costs, memory. Rounds run the programs in turn. It installs the peers of this folder at its first run. A whole run writes its part
 * of docs/benchmarks.md, docs/peers-plot.svg, and every run's figures to runs.jsonl here.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Redis } from "ioredis";
import { withGeneratedPart } from "../../tools/generated-part.ts";
import type { Limits } from "../limits/load.ts";
import { rowOf } from "../limits/product-fleet.ts";
import { SIZES } from "../limits/product-run.ts";
import { SimulatorControl } from "../limits/simulator-control.ts";
import { percentile } from "../percentile.ts";
import { BenchSite } from "../site.ts";
import { installPeers } from "./install.ts";
import { plotOf } from "./plot.ts";
import { type Load, type RowsResult, runRows, type Start } from "./rows-run.ts";

const FOLDER = import.meta.dirname;
const DOCS = join(FOLDER, "../../docs");
/** Small enough that a busy machine keeps up with it; 479 tokens each on average, where 600 would exhaust both. */
const LIMITS: Limits = { rpm: 1500, tpm: 900_000, burstSeconds: 1 };
const OURS = "gluellm";
const TITLES: Record<string, string> = {
  "p-limit": "`p-limit` and the OpenAI SDK",
  "ai-sdk": "`generateText` of the AI SDK",
  "p-queue": "`p-queue`, told the rate",
  bottleneck: "Bottleneck, told the rate",
  bullmq: "BullMQ's limiter, told the rate",
  [OURS]: "`gluellm batch run`, told nothing",
};

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, quick: { type: "boolean", default: false } },
  allowPositionals: true,
});
const names = positionals.length > 0 ? positionals : Object.keys(TITLES);
const isWhole = positionals.length === 0 && !values.quick;

installPeers();
console.log(`${availableParallelism()} cores, Node.js ${process.version}`);
await using site = await BenchSite.open();
const redis = new Redis({ path: site.socketPath, maxRetriesPerRequest: null });
const where = { site, redis, provider: new SimulatorControl(site.providerUrl) };
const scale = values.quick ? 5 : 1;
const free: Load = loadOf("free.jsonl", 5000 / scale, { limits: undefined, latencyMs: 0 });
const limited: Load = loadOf("limited.jsonl", 600 / scale, { limits: LIMITS, latencyMs: 200 });

type Case = "free" | "limited" | "killed";
const results: { round: number; name: string; case: Case; load: number; result: RowsResult }[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, kind] of names.flatMap((name) =>
    (["free", "limited", "killed"] as const).map((kind) => [name, kind] as const),
  )) {
    const load = kind === "free" ? free : limited;
    const result = await runRows(where, load, starterOf(name, load), kind === "killed");
    results.push({ round, name, case: kind, load: Number(loadavg()[0]?.toFixed(1)), result });
    const { seconds: _, ...told } = result;
    console.log(name, kind, JSON.stringify(told));
  }
  publish();
}
redis.disconnect();

/** After every round, so that a run that is ended early leaves what it has. */
function publish(): void {
  const text = table();
  console.log(text);
  const plot = plotOf(names.map((name) => ({ title: TITLES[name] ?? name, ...middleOf(name) })));
  writeFileSync(join(isWhole ? DOCS : tmpdir(), "peers-plot.svg"), plot);
  if (!isWhole) return;
  const path = join(DOCS, "benchmarks.md");
  writeFileSync(path, withGeneratedPart(readFileSync(path, "utf8"), "bench:peers", text));
  const lines = results.map(({ result: { seconds: _, ...kept }, ...run }) => ({ ...run, ...kept }));
  writeFileSync(join(FOLDER, "runs.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

function loadOf(name: string, rows: number, rest: Pick<Load, "limits" | "latencyMs">): Load {
  const input = join(site.folder, name);
  writeFileSync(input, Array.from({ length: rows }, (_, n) => rowOf(n, SIZES)).join(""));
  return { input, rows, ...rest };
}

function starterOf(name: string, { input, limits }: Load): Start {
  if (name === OURS)
    return (output) => site.command(["batch", "run", input, "-o", output, "-m", "simulator:bench"], {});
  const env = {
    PROVIDER_URL: `${site.providerUrl}/v1`,
    REDIS_SOCKET: site.socketPath,
    ...(limits && { REQUESTS_PER_MINUTE: String(limits.rpm) }),
  };
  return (output) => site.run(join(FOLDER, "rows", `${name}.mjs`), [input, output], env).child;
}

function runsOf(name: string, kind: Case): RowsResult[] {
  return results.filter((run) => run.name === name && run.case === kind).map(({ result }) => result);
}

/** The killed run whose time is the middle one. */
function middleOf(name: string): RowsResult {
  const runs = runsOf(name, "killed").sort((a, b) => a.wallMs - b.wallMs);
  return runs[Math.floor((runs.length - 1) / 2)]!;
}

function table(): string {
  const head = [
    "",
    "rows/s, no limit, 0 ms",
    "answers/s at the limit",
    "rows without one",
    "429s",
    "of calls",
    "killed: time",
    "paid twice",
    "rows without an answer",
    "twice in the file",
    "RSS, MB",
    "Redis, MB",
  ];
  const rows = names.map((name) => {
    const median = (kind: Case, of: (result: RowsResult) => number) =>
      percentile(runsOf(name, kind).map(of), 50);
    const limitedRows = limited.rows;
    const rateLimited = median("limited", (run) => run.rateLimited);
    return [
      TITLES[name] ?? name,
      median("free", ({ wallMs }) => (free.rows / wallMs) * 1000).toFixed(0),
      median("limited", ({ wallMs, lost }) => ((limitedRows - lost) / wallMs) * 1000).toFixed(1),
      median("limited", ({ lost }) => lost).toFixed(0),
      rateLimited.toFixed(0),
      `${((rateLimited / (rateLimited + limitedRows)) * 100).toFixed(1)} %`,
      `${(median("killed", ({ wallMs }) => wallMs) / 1000).toFixed(0)} s`,
      median("killed", ({ paidTwice }) => paidTwice).toFixed(0),
      median("killed", ({ lost }) => lost).toFixed(0),
      median("killed", ({ twiceInOutput }) => twiceInOutput).toFixed(0),
      median("free", ({ rssMb }) => rssMb).toFixed(0),
      name === OURS || name === "bullmq" ? median("free", ({ redisMb }) => redisMb).toFixed(1) : "–",
    ];
  });
  const loads = results.map(({ load }) => load);
  const rounds = 1 + Math.max(...results.map(({ round }) => round));
  const about = `${free.rows} rows without a limit, ${limited.rows} at the limit; rounds: ${rounds}; load average ${Math.min(...loads).toFixed(0)} to ${Math.max(...loads).toFixed(0)} on ${availableParallelism()} cores.`;
  const cells = [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |\n`);
  return `${about}\n\n${cells.join("")}`;
}
