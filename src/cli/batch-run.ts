import { spawn } from "node:child_process";
import { extname, join } from "node:path";
import type { FeedEnd } from "../batch/feeder.ts";
import { readBatchId } from "../batch/partial-header.ts";
import { feedBatch, type PreparedBatch, prepareBatch, readFaultCounts } from "../batch/run-batch.ts";
import { Tally } from "../batch/tally.ts";
import { chooseModel } from "../calls/model-choice.ts";
import { requirePrices, unpricedModels } from "../producers/priced-models.ts";
import { costUsd } from "../shared/cost.ts";
import { GlueError } from "../shared/errors.ts";
import type { Logger } from "../shared/logger.ts";
import type { ModelRef } from "../shared/model-name.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import type { Settings } from "../shared/settings.ts";
import { Lease } from "../store/batch-lease.ts";
import type { Store } from "../store/store.ts";
import { openRedis, type RedisHost, startWorker } from "./compose.ts";
import { EXIT, type Interruption } from "./exit.ts";
import { Progress } from "./progress.ts";
import { buildReport, type Report, summarize } from "./report.ts";
import { checkReportFile, writeReportFile } from "./report-file.ts";

const WATCH_MS = 500;
const MAX_AWAY_MS = 5000;

export interface BatchRunOptions {
  inputPath: string;
  outputPath: string;
  model?: string;
  promptField?: string;
  limitRows?: number;
  strict?: boolean;
  retryFailed?: boolean;
  /** Jobs at a time per worker process and queue. */
  concurrency?: number;
  /** Worker processes of this run's own, this one included; 0: the running fleet does the work. Default 1. */
  workers?: number;
  /** What the batch may cost in USD, all its runs together. */
  maxCostUsd?: number;
  /** Of all rows; default: the cache serves rows with `temperature` 0. */
  cache?: boolean;
  /** Where to write the report as JSON. */
  reportPath?: string;
  /** The command that goes on with this batch, for the messages. */
  resumeCommand: string;
}

/** Runs a batch in the foreground. Returns the exit code; throws what stops it before it starts. */
export async function runBatchCommand(
  options: BatchRunOptions,
  settings: Settings,
  logger: Logger,
  interruption: Interruption,
  opened?: RedisHost,
): Promise<number> {
  const startedAt = Date.now();
  const { reportPath, inputPath, outputPath } = options;
  if (reportPath) checkReportFile(reportPath, inputPath, outputPath);
  const batch = await prepare(options, settings, logger);
  const tally = new Tally(batch.output.use);
  try {
    if (batch.output.complete) {
      process.stderr.write("every row has its result already; no provider call made\n");
      return finish(
        options,
        buildReport(batch.index.counts(), tally, { retries: 0, rateLimited: 0 }, startedAt),
      );
    }
    checkPrices(batch.models, settings, options.maxCostUsd);
    await using host = opened ? borrowed(opened) : await openRedis(settings, logger);
    const { end, faults } = await feed({
      options,
      settings,
      logger,
      interruption,
      batch,
      tally,
      host,
      startedAt,
    });
    const report = buildReport(batch.index.counts(), tally, faults, startedAt);
    return conclude(end, options, report, batch.output.batchId, interruption);
  } finally {
    await batch.close();
  }
}

async function prepare(options: BatchRunOptions, settings: Settings, logger: Logger): Promise<PreparedBatch> {
  const choice = {
    settings,
    defaultModel: options.model ?? settings.defaultModel,
    keyNeeded: options.workers !== 0,
  };
  const knownId = readBatchId(options.outputPath);
  try {
    return await prepareBatch({
      ...options,
      resolveModel: (name) => chooseModel(name, choice),
      costOf: (model, use) => costUsd(settings.prices, model, use),
    });
  } catch (error) {
    if (knownId && error instanceof GlueError && error.code === "output_in_use") {
      // Somebody on this machine has the files: the lease knows who.
      await using host = await openRedis(settings, logger);
      await (await Lease.acquire(host.store, knownId)).release();
    }
    throw error;
  }
}

/** Says once whose costs cannot be counted. @throws ConfigurationError when they must be. */
function checkPrices(models: readonly ModelRef[], settings: Settings, maxCostUsd: number | undefined): void {
  if (maxCostUsd !== undefined) requirePrices(settings, models, "--max-cost");
  const unpriced = unpricedModels(settings, models);
  if (unpriced.length === 0) return;
  const fact = `no price is known for ${unpriced.join(", ")}`;
  process.stderr.write(`${fact}, so the cost is not shown; GLUELLM_PRICES sets one\n`);
}

interface Feed {
  options: BatchRunOptions;
  settings: Settings;
  logger: Logger;
  interruption: Interruption;
  batch: PreparedBatch;
  tally: Tally;
  host: RedisHost;
  startedAt: number;
}

async function feed({ options, settings, logger, interruption, batch, tally, host, startedAt }: Feed) {
  const { store } = host;
  const { workers = 1, concurrency, maxCostUsd, cache } = options;
  const queueGlobs = batch.models.map(completionQueueName);
  const children = spawnWorkers(workers - 1, queueGlobs, concurrency);
  const worker =
    workers > 0
      ? await startWorker({ redisTarget: host.target, settings, logger, queueGlobs, concurrency })
      : undefined;
  const progress = new Progress({ store, settings, batch, tally, startedAt, interruption });
  progress.start();
  const watch = exitWithoutRedis(
    store.redis,
    interruption,
    `results so far are safe in ${options.outputPath}.partial\nresume with: ${options.resumeCommand}`,
  );
  try {
    const { signal } = interruption;
    const end = await feedBatch({ store, settings, logger, batch, tally, maxCostUsd, cache, signal });
    return { end, faults: await readFaultCounts(store, batch.output.batchId) };
  } finally {
    clearInterval(watch);
    await progress.stop();
    for (const child of children) child.kill("SIGTERM");
    await worker?.close();
  }
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

/** More processes for a machine with more cores; they end with this one (their standard input closes). */
function spawnWorkers(count: number, queueGlobs: readonly string[], concurrency: number | undefined) {
  const main = join(import.meta.dirname, `main${extname(import.meta.filename)}`);
  const args = [main, "worker", "--exit-with-parent", ...queueGlobs.flatMap((glob) => ["--queue", glob])];
  if (concurrency) args.push("--concurrency", String(concurrency));
  return Array.from({ length: Math.max(0, count) }, () =>
    spawn(process.execPath, args, { stdio: ["pipe", "ignore", "inherit"] }),
  );
}

function conclude(
  end: FeedEnd,
  options: BatchRunOptions,
  report: Report,
  batchId: string,
  interruption: Interruption,
): number {
  const missing = report.total - report.succeeded - report.failed;
  const kept = `${report.succeeded + report.failed} of ${report.total} results are safe in ${options.outputPath}.partial; ${missing} rows are not sent`;
  switch (end.kind) {
    case "finished":
      return finish(options, report);
    case "interrupted":
      process.stderr.write(`${kept}\nresume with: ${options.resumeCommand}\n`);
      return interruption.exitCode ?? EXIT.sigint;
    case "cancelled":
      process.stderr.write(
        `batch ${batchId} was cancelled; ${kept}\nresume with: ${options.resumeCommand}\n`,
      );
      return EXIT.rowsFailed;
    case "stopped": {
      const { code, message, hint } = end.error;
      process.stderr.write(
        `batch stopped (${code}): ${message}${hint ? `\n  → ${hint}` : ""}\n${kept}\nthen resume with: ${options.resumeCommand}\n`,
      );
      return code === "cost_limit" ? EXIT.costLimit : EXIT.configuration;
    }
  }
}

function finish({ outputPath, reportPath }: BatchRunOptions, report: Report): number {
  process.stderr.write(`${summarize(report, outputPath)}\n`);
  if (reportPath) writeReportFile(reportPath, report, outputPath);
  return report.failed > 0 ? EXIT.rowsFailed : EXIT.ok;
}

/** A host that somebody else closes. */
function borrowed(host: RedisHost): RedisHost {
  return { ...host, [Symbol.asyncDispose]: async () => {} };
}
