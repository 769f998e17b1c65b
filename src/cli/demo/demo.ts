import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { BatchRun } from "../../batch/batch-run.ts";
import { CloseStack } from "../../shared/close-stack.ts";
import { count, counted } from "../../shared/counted.ts";
import { ConfigurationError } from "../../shared/errors.ts";
import type { Store } from "../../store/store.ts";
import { readWorkersById } from "../../store/worker-card.ts";
import { loggerOf } from "../../telemetry/logging.ts";
import { openRedis, type RedisHost, startSimulator } from "../compose.ts";
import { EXIT, type Interruption, onInterruption } from "../exit.ts";
import { jsonText } from "../output.ts";
import { duration } from "../progress/figures.ts";
import { Progress, paint } from "../progress/progress.ts";
import { type Style, wrapped } from "../progress/text-layout.ts";
import {
  addUp,
  answered,
  type Bill,
  billLines,
  callsOf,
  type Death,
  type DemoProvider,
  usdOf,
} from "./bill.ts";
import { DemoSite, type DemoWorker, MODEL } from "./site.ts";

interface Pace {
  rows: number;
  /** Of a call at the provider, ± a third. */
  latencyMs: number;
  /** Calls at a time of a worker. */
  concurrency: number;
}
/** About a minute on an idle machine. */
const NORMAL: Pace = { rows: 240, latencyMs: 1500, concurrency: 4 };
const FAST: Pace = { rows: 40, latencyMs: 450, concurrency: 3 };

/** The share of the rows after which the worker is killed. */
const KILL_AFTER = 0.35;
/** How much longer calls take while the moment of the kill is awaited. */
const SLOW_FACTOR = 4;
const LOOK_MS = 10;
const WORKERS_START_MS = 60_000;
const STOPPING = "stopping: calls in flight finish, then everything is removed (again to exit now)";

/** `gluellm demo`: a worker is killed in mid-call, and nothing that was paid is paid again. */
export function addDemoCommand(program: Command): void {
  program
    .command("demo")
    .description("One minute, no key: a batch, a worker killed in mid-call, no paid call repeated, the bill.")
    .option("--fast", "fewer rows and a faster provider: about 15 seconds")
    .option("--json", "the bill as JSON on standard output")
    .action(async ({ fast, json }: { fast?: boolean; json?: boolean }) => {
      process.exitCode = await demo(fast ? FAST : NORMAL, json ?? false);
    });
}

async function demo(pace: Pace, isJson: boolean): Promise<number> {
  const startedAt = Date.now();
  const interruption = onInterruption(process.stderr.isTTY ? undefined : STOPPING);
  const bill = await play(pace, interruption);
  if (!bill) {
    say("demo stopped; its Redis, workers and files are gone");
    return interruption.exitCode ?? EXIT.sigint;
  }
  interruption.release();
  if (isJson) process.stdout.write(`${jsonText(bill)}\n`);
  else process.stderr.write(`\n${billLines(bill, columns(), paint).join("\n")}\n\n`);
  say(`${duration((Date.now() - startedAt) / 1000)}; its Redis, workers and files are gone`, "dim");
  if (!isJson) sayNext();
  return bill.callsPaidTwice > 0 || bill.answeredRows < bill.rows ? EXIT.rowsFailed : EXIT.ok;
}

/** Plays the demo and returns its bill; undefined when it was interrupted. Whatever it started has ended then. */
async function play(pace: Pace, interruption: Interruption): Promise<Bill | undefined> {
  await using parts = new CloseStack();
  const { rows, latencyMs, concurrency } = pace;
  const simulator = await startSimulator({ port: 0, latencyMs, jitterMs: latencyMs / 3 });
  parts.defer(() => simulator.close());
  const { journal } = simulator;
  const site = new DemoSite(parts, simulator.url, rows);
  const host = parts.use(await openRedis(site.settings, loggerOf(site.settings, "error")));
  const workers = [site.startWorker(concurrency), site.startWorker(concurrency)];
  say("GlueLLM: no paid call is lost, not even when a worker dies", "bold");
  say(`Redis      embedded, in a folder of this demo's own`);
  say(`provider   simulated, at ${simulator.url}; no key, made-up prices`);
  for (const { name, pid } of workers) say(`worker ${name}   process ${pid}`);
  say(`batch      ${count(rows)} support tickets, model ${MODEL}\n`);
  if (!(await workersRun(host.store, workers, interruption))) return undefined;

  const run = await prepare(site, host);
  let death: Death | undefined;
  const over = new AbortController();
  const killing = killInMidCall(run, workers, { simulator, pace, signal: over.signal }).then((found) => {
    death = found;
    if (found) site.startWorker(concurrency);
  });
  try {
    await follow(run, site, host, interruption);
  } finally {
    over.abort();
    await killing;
  }
  if (interruption.signal.aborted) return undefined;
  if (!death) throw new ConfigurationError("the batch ended before a worker could be killed", "try again");
  const calls = journal.entries().length;
  say("\nThe same batch is started once more:");
  const again = await prepare(site, host);
  const { succeeded } = await again.report();
  const callsOfSecondRun = journal.entries().length - calls;
  say(`every row has its answer already: ${counted(callsOfSecondRun, "call")}`, "green");
  return addUp(journal, { rows, answeredRows: succeeded, callsOfSecondRun, death });
}

function prepare({ inputPath, outputPath, settings }: DemoSite, { store }: RedisHost): Promise<BatchRun> {
  return BatchRun.prepare(
    { inputPath, outputPath, model: MODEL },
    { settings, logger: loggerOf(settings, "error"), keyNeeded: false, openStore: async () => store },
  );
}

/** Shows the run until it has ended; an interruption stops it. */
async function follow(
  run: BatchRun,
  { settings }: DemoSite,
  { store }: RedisHost,
  interruption: Interruption,
): Promise<void> {
  const stop = () => run.stop();
  interruption.signal.addEventListener("abort", stop);
  if (interruption.signal.aborted) stop();
  const files = { input: "tickets.jsonl", output: "answers.jsonl", maxCostUsd: undefined, notices: [] };
  run.start();
  const progress = await Progress.start({ ...files, store, settings, run, interruption });
  try {
    await run.report();
  } finally {
    interruption.signal.removeEventListener("abort", stop);
    await progress.stop();
  }
}

/**
 * Kills the first worker in mid-call. An answer that is on its way at a kill is paid and lost, as it is for anybody: for the
 * moment of the kill the provider is made slow, so that every answer is recorded and no other comes.
 */
async function killInMidCall(
  run: BatchRun,
  [victim]: readonly DemoWorker[],
  { simulator, pace, signal }: { simulator: DemoProvider; pace: Pace; signal: AbortSignal },
): Promise<Death | undefined> {
  const { rows, latencyMs } = pace;
  const { journal } = simulator;
  const slowMs = latencyMs * SLOW_FACTOR;
  let slowSince: number | undefined;
  while (victim && !signal.aborted) {
    await delay(LOOK_MS);
    const paid = answered(journal.entries());
    if (paid.length < rows * KILL_AFTER) continue;
    if (slowSince === undefined) {
      slowSince = Date.now();
      simulator.setLatency({ latencyMs: slowMs, jitterMs: 0 });
    }
    const calls = callsOf(journal, victim.key);
    const open = calls.filter(({ finishedAt }) => finishedAt === null);
    const oldest = Math.min(...open.map(({ at }) => at));
    const isMidCall = open.length >= 2 && oldest > slowSince && Date.now() - oldest < slowMs / 2;
    if (!isMidCall || run.progress().succeeded !== paid.length) continue;
    victim.kill();
    simulator.setLatency({ latencyMs, jitterMs: latencyMs / 3 });
    const own = answered(calls).length;
    sayDeath(victim, open.length, own);
    return { answeredByAll: paid.length, usdByAll: usdOf(paid) };
  }
  return undefined;
}

function sayDeath({ name, pid }: DemoWorker, callsInFlight: number, own: number): void {
  say(`✗ kill -9 ${pid}: worker ${name} is dead, with ${counted(callsInFlight, "call")} in flight`, "red");
  say(`✓ the ${counted(own, "answer")} that it paid for are recorded: nobody asks them again`, "green");
  say(
    `  its ${counted(callsInFlight, "open call")} go to the others in a few seconds; worker C takes its place`,
    "dim",
  );
}

/** Waits until all have announced themselves. Returns false when the demo is interrupted meanwhile. */
async function workersRun(
  store: Store,
  workers: readonly DemoWorker[],
  { signal }: Interruption,
): Promise<boolean> {
  const deadline = Date.now() + WORKERS_START_MS;
  while (!signal.aborted) {
    const cards = await readWorkersById(store);
    const running = new Set([...cards.values()].map(({ pid }) => pid));
    if (workers.every(({ pid }) => running.has(pid))) return true;
    if (Date.now() > deadline)
      throw new ConfigurationError(
        "the workers did not start within a minute",
        "try again on an idle machine",
      );
    await delay(LOOK_MS * 5);
  }
  return false;
}

function sayNext(): void {
  say("\nNext", "bold");
  say("  npx gluellm init my-project    a project with a tool, an agent, a workflow and their test");
  say("  npx gluellm --help             every command");
}

function columns(): number {
  return process.stderr.columns ?? 80;
}

function say(text: string, style?: Style): void {
  const lines = process.stderr.isTTY
    ? text.split("\n").flatMap((line) => wrapped({ text: line, style }, columns(), paint))
    : [text];
  process.stderr.write(`${lines.join("\n")}\n`);
}
