import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import type { Command } from "commander";
import { CloseStack } from "../shared/close-stack.ts";
import { InputError } from "../shared/errors.ts";
import { loadSettings, type Settings, withSettings } from "../shared/settings.ts";
import { loggerOf } from "../telemetry/logging.ts";
import { runBatchCommand } from "./batch-run.ts";
import { localKey, openRedis, startApi, startDashboard, startSimulator, startWorker } from "./compose.ts";
import { onInterruption, STOPPING } from "./exit.ts";
import { integer } from "./options.ts";

const MODEL = "gsm8k-demo";
/** 300 rows take about ten seconds, so that the limit and the progress can be watched. */
const LIMITS = { rpm: 1800, tpm: 300_000 };
/** Tried when the API's port is busy. */
const FURTHER_PORTS = 20;
/** USD. */
const PRICES = { inputPerMillion: 0.15, outputPerMillion: 0.6 };
/** A few of each, so that retries can be watched too. */
const FAULTS = JSON.stringify({ "500": 0.02, drop: 0.01 });

/** `gluellm quickstart`: the whole product on one machine, with a simulated provider. */
export function addQuickstartCommand(program: Command): void {
  program
    .command("quickstart")
    .description("Show all of it at work on this machine: 300 real questions, a simulated provider, no keys.")
    .option("--rows <n>", "how many of the 300 questions", integer(1, 300), 300)
    .action(async ({ rows }: { rows: number }) => {
      process.exitCode = await quickstart(rows);
    });
}

async function quickstart(limitRows: number): Promise<number> {
  const folder = quickstartFolder();
  const configured = loadSettings({ ignoreBareRedisUrl: true });
  const logger = loggerOf(configured, "error");
  const interruption = onInterruption(process.stderr.isTTY ? undefined : STOPPING);
  await using parts = new CloseStack();

  const simulator = await startSimulator({
    port: 0,
    latencyMs: 400,
    jitterMs: 200,
    faults: FAULTS,
    ...LIMITS,
  });
  parts.defer(() => simulator.close());
  const settings = demoSettings(configured, `${simulator.url}/v1`);
  const host = parts.use(await openRedis(settings, logger));
  const dashboard = await startDashboard({
    redisTarget: host.target,
    ...{ logger, settings, store: host.store },
  });
  parts.defer(() => dashboard.close());

  const api = await startApi({ settings, logger, store: host.store, furtherPorts: FURTHER_PORTS });
  parts.defer(() => api.close());
  const key = await localKey(host.store, settings);

  const outputPath = relativePath(join(runFolder(folder), "results.jsonl"));
  say(
    `Redis      ${host.embedded ? `embedded, data in ${relativePath(settings.dataDir)}` : "the one of GLUELLM_REDIS_URL"}`,
  );
  say(`provider   simulator at ${simulator.url}; its answers and prices are made up`);
  say(`limits     ${LIMITS.rpm} requests and ${LIMITS.tpm} tokens a minute; 3 % of the calls fail`);
  say(`dashboard  ${dashboard.url}`);
  say(`api        ${api.url}/v1`);
  say(`           ${curlLine(api.url, relativePath(key.path))}`);
  say(`batch      ${limitRows} GSM8K questions, model simulator:${MODEL}\n`);
  const exitCode = await runBatchCommand(
    {
      inputPath: relativePath(join(folder, "gsm8k-300.jsonl")),
      outputPath,
      model: `simulator:${MODEL}`,
      promptField: "question",
      limitRows,
      reportPath: join(outputPath, "..", "report.json"),
      resumeCommand: "npm run quickstart",
    },
    settings,
    logger,
    interruption,
    host,
  );
  if (interruption.exitCode !== undefined) return interruption.exitCode;
  interruption.release();
  sayNext(relativePath(outputPath), settings.namespace);
  if (process.stdin.isTTY && process.stderr.isTTY) {
    const worker = await startWorker({ store: host.store, settings, logger });
    parts.defer(() => worker.close());
    say(
      `\nDashboard, API and a worker stay up: the dashboard is at ${dashboard.url}, until you press Ctrl-C.`,
    );
    const leave = onInterruption(undefined);
    await once(leave.signal, "abort");
  }
  return exitCode;
}

/** The demo's own namespace, limits and first waits: nothing of the user's settings is changed by it. */
function demoSettings(settings: Settings, baseUrl: string): Settings {
  const simulator = settings.providers.simulator;
  if (!simulator) throw new InputError("the simulator's provider entry is missing");
  return withSettings(settings, {
    namespace: "quickstart",
    providers: { ...settings.providers, simulator: { ...simulator, baseUrl } },
    limits: { [`simulator:${MODEL}`]: LIMITS },
    prices: { [`simulator:${MODEL}`]: PRICES },
    retry: { ...settings.retry, minWaitMs: 500, maxWaitMs: 2000 },
  });
}

function curlLine(url: string, keyPath: string): string {
  const body = JSON.stringify({
    model: `simulator:${MODEL}`,
    messages: [{ role: "user", content: "Hello!" }],
  });
  return `curl ${url}/v1/chat/completions -H "Authorization: Bearer $(cat ${keyPath})" -H 'Content-Type: application/json' -d '${body}'`;
}

function sayNext(outputPath: string, namespace: string): void {
  const next = [
    [`head -n 1 ${outputPath}`, "the first answer"],
    [`GLUELLM_NAMESPACE=${namespace} npx gluellm dashboard`, "this dashboard again"],
    ["npx gluellm --help", "every command"],
    ['npx gluellm complete "hello" -m openai:gpt-4o-mini', "a real answer, with OPENAI_API_KEY set"],
    ["docs/getting-started.md", "your own first call, batch and workflow; ARCHITECTURE.md: how it works"],
  ];
  const width = Math.max(...next.map(([command = ""]) => command.length));
  say("\nWhere to look next");
  for (const [command = "", purpose] of next) say(`  ${command.padEnd(width)}  ${purpose}`);
}

/** In a checkout `quickstart/`; elsewhere a folder of that name must hold the questions. */
function quickstartFolder(): string {
  const folder = join(import.meta.dirname, "..", "..", "quickstart");
  if (!existsSync(join(folder, "gsm8k-300.jsonl"))) {
    throw new InputError(
      `no questions in ${folder}`,
      "the quickstart runs in a checkout of the project; elsewhere gluellm demo shows it at work without a key",
    );
  }
  return folder;
}

/** The last run's folder when it was interrupted, else a new one. */
function runFolder(folder: string): string {
  const numbers = readdirSync(folder).map((name) => Number(/^run-(\d+)$/.exec(name)?.[1] ?? 0));
  const last = Math.max(0, ...numbers);
  const lastPath = join(folder, `run-${last}`);
  if (existsSync(join(lastPath, "results.jsonl.partial"))) return lastPath;
  for (let n = last + 1; ; n++) {
    const path = join(folder, `run-${n}`);
    // Two quickstarts at once must not share a folder.
    if (mkdirSync(path, { recursive: true }) !== undefined) return path;
  }
}

function relativePath(path: string): string {
  return relative(process.cwd(), path) || ".";
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
