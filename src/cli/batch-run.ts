import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { extname, join } from "node:path";
import { type BatchReport, BatchRun, type LanedBatchOptions } from "../batch/batch-run.ts";
import type { HistoryConsumer } from "../history/consumer.ts";
import { unpricedModels } from "../producers/priced-models.ts";
import { CloseStack } from "../shared/close-stack.ts";
import { counted } from "../shared/counted.ts";
import { ConfigurationError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { within } from "../shared/within.ts";
import type { Store } from "../store/store.ts";
import { openRedis, type RedisHost, startHistory, startWorker } from "./compose.ts";
import { EXIT, type Interruption, saidBy } from "./exit.ts";
import { asTyped } from "./own-command.ts";
import { laneText } from "./progress/batch-picture.ts";
import { Progress } from "./progress/progress.ts";
import { summarize } from "./report.ts";
import { checkReportFile, writeReportFile } from "./report-file.ts";

const WATCH_MS = 500;
const SLOW_MS = 1000;
const MAX_AWAY_MS = 5000;
/** How often the history looks for ends, so that the end of a run waits little for it; and the longest that it waits. */
const HISTORY_IDLE_MS = 200;
const MAX_HISTORY_MS = 10_000;

export interface BatchRunOptions extends LanedBatchOptions {
  /** Jobs at a time per worker process and queue. */
  concurrency?: number;
  /** Worker processes of this run's own, this one included; 0: the running fleet does the work. Default 1. */
  workers?: number;
  /** Where to write the report as JSON. */
  reportPath?: string;
  /** The command that goes on with this batch, for the messages. */
  resumeCommand: string;
}

interface BatchSite {
  settings: Settings;
  logger: Logger;
  interruption: Interruption;
}

/** Runs a batch in the foreground. Returns the exit code; throws what stops it before it starts. */
export async function runBatchCommand(
  options: BatchRunOptions,
  settings: Settings,
  logger: Logger,
  interruption: Interruption,
  opened?: RedisHost,
): Promise<number> {
  const { reportPath, inputPath, outputPath, workers } = options;
  if (reportPath) checkReportFile(reportPath, inputPath, outputPath);
  await using parts = new CloseStack();
  let host = opened;
  const openHost = async () => {
    host ??= parts.use(await openRedis(settings, logger));
    return host;
  };
  // The rows of a large file, and earlier results of it, take a while to find.
  const slow = setTimeout(() => process.stderr.write(`reading ${inputPath} …\n`), SLOW_MS);
  parts.defer(() => clearTimeout(slow));
  const run = await BatchRun.prepare(options, {
    settings,
    logger,
    keyNeeded: workers !== 0,
    costLimitName: "--max-cost",
    openStore: async () => (await openHost()).store,
  });
  clearTimeout(slow);
  parts.defer(() => run.close());
  if (run.isComplete) {
    process.stderr.write("every row has its result already; no provider call made\n");
    return finish(options, await run.report());
  }
  sayUnpriced(run, settings);
  const report = await work(run, options, await openHost(), { settings, logger, interruption });
  return conclude(options, report, interruption, run);
}

/** Says once whose costs cannot be counted. */
function sayUnpriced({ calledModels }: BatchRun, settings: Settings): void {
  const unpriced = unpricedModels(settings, calledModels);
  if (unpriced.length === 0) return;
  const fact = `no price is known for ${unpriced.join(", ")}`;
  process.stderr.write(`${fact}, so the cost is not shown; GLUELLM_PRICES sets one\n`);
}

/** Brings the run to its end with workers of its own, and shows where it stands. */
async function work(
  run: BatchRun,
  options: BatchRunOptions,
  { store }: RedisHost,
  { settings, logger, interruption }: BatchSite,
): Promise<BatchReport> {
  const { workers = 1, concurrency } = options;
  const queueGlobs = run.models.map(completionQueueName);
  // The rest of a large file may name more models: those of this process are added below.
  const isCounted = run.progress().isCounted;
  const servedGlobs = isCounted ? queueGlobs : ["completions.*"];
  // Where no other process does. Before the first row ends, so that none is missed.
  const history =
    workers > 0 ? await startHistory({ store, settings, logger, idleMs: HISTORY_IDLE_MS }) : undefined;
  const children = spawnWorkers(workers - 1, servedGlobs, run.files.workerLog, concurrency);
  const worker =
    workers > 0 ? await startWorker({ store, settings, logger, queueGlobs, concurrency }) : undefined;
  const { inputPath: input, outputPath: output, maxCostUsd } = options;
  const notices = children.length > 0 ? [`the other workers log to ${run.files.workerLog}`] : [];
  const files = { input, output, maxCostUsd };
  const progress = await Progress.start({ ...files, store, settings, run, interruption, notices });
  const stop = () => run.stop();
  interruption.signal.addEventListener("abort", stop);
  if (interruption.signal.aborted) stop();
  const follow = setInterval(() => {
    for (const model of run.models.slice(queueGlobs.length)) queueGlobs.push(completionQueueName(model));
  }, WATCH_MS);
  const watch = exitWithoutRedis(
    store.redis,
    interruption,
    `results so far are safe in ${run.files.partial}\nresume with: ${options.resumeCommand}`,
  );
  try {
    return await run.report();
  } finally {
    interruption.signal.removeEventListener("abort", stop);
    clearInterval(watch);
    clearInterval(follow);
    await progress.stop();
    for (const child of children) child.kill("SIGTERM");
    await worker?.close();
    if (history) await finishHistory(history, interruption);
  }
}

/** Says what the database could not take in time; another process, or the next run, writes it. */
async function finishHistory(history: HistoryConsumer, { signal }: Interruption): Promise<void> {
  // What was written down so far stays; a person who interrupts does not wait for the rest.
  let waiting = 0;
  const look = async () => {
    waiting = await history.caughtUp(signal.aborted ? 0 : MAX_HISTORY_MS);
  };
  // A Redis that is away by now answers nothing.
  await within(2 * MAX_HISTORY_MS, look());
  if (waiting > 0 && !signal.aborted)
    process.stderr.write(
      `${counted(waiting, "end")} ${waiting === 1 ? "waits" : "wait"} for the history: gluellm history status\n`,
    );
  await history.close();
}

/** Nothing can be withdrawn from a Redis that is away: after a signal and some seconds the run ends without it. */
function exitWithoutRedis(redis: Store["redis"], interruption: Interruption, notice: string) {
  let awayMs = 0;
  return setInterval(() => {
    awayMs = redis.status === "ready" || !interruption.signal.aborted ? 0 : awayMs + WATCH_MS;
    if (awayMs < MAX_AWAY_MS) return;
    process.stderr.write(`Redis does not answer; ending without it\n${notice}\n`);
    process.exit(interruption.exitCode);
  }, WATCH_MS);
}

/**
 * More processes for a machine with more cores; they end with this one (their standard input closes). What they log
 * goes to a file: on the terminal it would break the picture of the progress.
 */
function spawnWorkers(
  count: number,
  queueGlobs: readonly string[],
  logPath: string,
  concurrency: number | undefined,
) {
  if (count <= 0) return [];
  const main = join(import.meta.dirname, `main${extname(import.meta.filename)}`);
  const args = [main, "worker", "--exit-with-parent", ...queueGlobs.flatMap((glob) => ["--queue", glob])];
  if (concurrency) args.push("--concurrency", String(concurrency));
  const log = openLog(logPath);
  try {
    return Array.from({ length: count }, () =>
      spawn(process.execPath, args, { stdio: ["pipe", "ignore", log] }),
    );
  } finally {
    closeSync(log);
  }
}

function openLog(path: string): number {
  try {
    return openSync(path, "a");
  } catch (error) {
    throw new ConfigurationError(
      `the workers' log ${path} cannot be written: ${(error as NodeJS.ErrnoException).code}`,
      "remove it, or choose another output with -o",
    );
  }
}

function conclude(
  options: BatchRunOptions,
  report: BatchReport,
  interruption: Interruption,
  run: BatchRun,
): number {
  const { id, status, error, providerMessage, files, total, succeeded, failed } = report;
  const done = succeeded + failed;
  const { lanes } = run.details();
  const bought = lanes.reduce((sum, { rows }) => sum + rows, 0);
  const unknown = lanes.filter(({ state }) => state === "unknown");
  const left = total - done - bought;
  const unsent = `${counted(left, "row")}${run.progress().isCounted ? "" : " so far"} ${left === 1 ? "is" : "are"} not sent`;
  const goesOn = unknown.length > 0 ? "" : ", which go on";
  const rest = bought > 0 ? `${unsent}, ${bought} lie in provider batches${goesOn}` : unsent;
  const kept = [
    `${done} of ${total} results are safe in ${files.partial}; ${rest}`,
    ...unknown.map((lane) => `  → ${laneText(lane)}`),
  ].join("\n");
  switch (status) {
    case "completed":
      return finish(options, report);
    case "interrupted":
      process.stderr.write(`${kept}\nresume with: ${options.resumeCommand}\n`);
      return interruption.exitCode ?? EXIT.sigint;
    case "cancelled":
      process.stderr.write(`batch ${id} was cancelled; ${kept}\nresume with: ${options.resumeCommand}\n`);
      return EXIT.rowsFailed;
    case "failed": {
      const { code, message, hint } = error ?? { code: "unknown", message: "no reason was given" };
      process.stderr.write(
        `batch stopped (${code}): ${message}${saidBy(providerMessage)}${hint ? `\n  → ${asTyped(hint)}` : ""}\n${kept}\nthen resume with: ${options.resumeCommand}\n`,
      );
      return code === "cost_limit" ? EXIT.costLimit : EXIT.configuration;
    }
  }
}

function finish({ reportPath }: BatchRunOptions, report: BatchReport): number {
  process.stderr.write(`${summarize(report)}\n`);
  if (reportPath) writeReportFile(reportPath, report);
  return report.failed > 0 ? EXIT.rowsFailed : EXIT.ok;
}
