import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { BatchFault } from "../../shared/file-check.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import type { Logger } from "../../shared/logger.ts";
import { BATCH_ENDS } from "../../shared/records.ts";
import type { Settings } from "../../shared/settings.ts";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import { saveBatch } from "../../store/batch.ts";
import type { Lease } from "../../store/batch-lease.ts";
import type { ConnectedStore } from "../../store/connected-store.ts";
import { readFile, saveFile } from "../../store/file-record.ts";
import { moveServedBatch, noteFaults, readServedBatch } from "../../store/served-batch.ts";
import { forgetServedBatch } from "../../store/served-batch-list.ts";
import type { ServedBatch } from "../../store/served-batch-record.ts";
import type { BatchEnd, UnsentRows } from "../batch-end.ts";
import { type BatchReport, BatchRun } from "../batch-run.ts";
import { askedLanes } from "../lanes/deadline.ts";
import { readLines } from "../line-reader.ts";
import { MAX_OUTPUT_LINE_BYTES } from "../output-line.ts";
import { outputFiles } from "../output-paths.ts";
import { headerLine } from "../partial-header.ts";
import { checkInput, faultsFound } from "./check-input.ts";
import type { FileStore, WorkStore } from "./file-store.ts";

export interface HostContext {
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  files: FileStore;
  /** Aborts when this process is to end: another one goes on. */
  signal: AbortSignal;
}

const WATCH_MS = 1000;
/** Rows end by the window, not by their own deadline, which is later by this. */
const DEADLINE_SLACK_MS = 60_000;

/** What a row says that was not sent; the code tells how the batch ended, also a host that comes after the end. */
const UNSENT = {
  cancelled: { code: "batch_cancelled", message: "the batch was cancelled before this row was sent" },
  expired: { code: "batch_expired", message: "the window of the batch ended before this row was sent" },
  failed: { code: "batch_stopped", message: "the batch was stopped before this row was sent" },
} as const;
type EarlyEnd = keyof typeof UNSENT;

/** The folder in which batches are worked on, each in its own, apart from the files that their owners see. */
export function workFolder({ dataDir, namespace }: Settings): string {
  return join(dataDir, "batches", namespace);
}

/**
 * Brings a batch from whatever state it is in to its end, under its lease; every step can be done once more by another host.
 * Returns false when this process cannot, or is to end; true also when it has been paused.
 */
export async function hostBatch(context: HostContext, id: string, lease: Lease): Promise<boolean> {
  const { store, settings, files, logger } = context;
  let batch = await readServedBatch(store, id);
  if (!batch || BATCH_ENDS.includes(batch.status)) {
    await forgetServedBatch(store, id);
    return true;
  }
  const faults = batch.status === "validating" ? await faultsOf(context, batch) : undefined;
  if (faults) {
    if (faults.length > 0) await moveServedBatch(store, id, { from: ["validating"], to: "failed", faults });
    else await moveServedBatch(store, id, { from: ["validating"], to: "in_progress" });
    batch = await readServedBatch(store, id);
    if (!batch || batch.status === "failed") {
      await rm(join(workFolder(settings), id), { recursive: true, force: true });
      return true;
    }
  }
  if (batch.status === "cancelling" && batch.inProgressAt === undefined) {
    await moveServedBatch(store, id, { from: ["cancelling"], to: "cancelled" });
    return true;
  }
  const folder = join(workFolder(settings), id);
  const inputPath = await files.localPath(batch.inputFileId, folder);
  if (inputPath === undefined) {
    // What has not begun ends in time without its input, too.
    if (batch.status === "validating" && Date.now() >= batch.expiresAt) {
      await moveServedBatch(store, id, { from: ["validating"], to: "expired" });
      return true;
    }
    logger.warn(
      { batch: id, file: batch.inputFileId },
      "the input of a batch is not in this machine's file store",
    );
    return false;
  }
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const outputPath = join(folder, "out.jsonl");
  if (files.work) await restoreWork(files.work, id, outputPath);
  const report = await runRows(context, batch, { inputPath, outputPath }, lease);
  if (!report) return false;
  if (report === "paused") return true;
  await deliver(context, batch, report);
  await files.work?.forget(id);
  await rm(folder, { recursive: true, force: true });
  return true;
}

/** What hosts have stored is the whole truth: what this machine has beside it was never acknowledged, or is old. */
async function restoreWork(work: WorkStore, id: string, outputPath: string): Promise<void> {
  const { partial, ...others } = outputFiles(outputPath);
  for (const path of Object.values(others)) await rm(path, { force: true });
  async function* lines() {
    yield Buffer.from(headerLine(id));
    yield* work.restore(id);
  }
  await pipeline(lines, createWriteStream(partial, { mode: 0o600, flush: true }));
}

/** Returns what is wrong with the input of a batch; undefined when this host cannot read it. */
async function faultsOf(
  { store, settings, files, signal }: HostContext,
  { id, tenant = DEFAULT_TENANT, endpoint, inputFileId, needsPrices }: ServedBatch,
): Promise<BatchFault[] | undefined> {
  const rules = { settings, needsPrices: needsPrices !== undefined };
  const check = (await readFile(store, inputFileId, tenant))?.check;
  const found = check && faultsFound(check, endpoint, rules);
  if (found) return found;
  const path = await files.localPath(inputFileId, join(workFolder(settings), id));
  if (path === undefined) return undefined;
  return checkInput(path, endpoint, { ...rules, signal, onFault: (fault) => noteFaults(store, id, [fault]) });
}

/** Returns the report of a run whose output is written; `paused`; undefined when another host has to go on. */
async function runRows(
  { store, settings, logger, signal, files: { work } }: HostContext,
  { id, tenant, by, createdAt, expiresAt, metadata }: ServedBatch,
  paths: { inputPath: string; outputPath: string },
  lease: Lease,
): Promise<BatchReport | "paused" | undefined> {
  let early: EarlyEnd | undefined;
  let isPaused = false;
  const unsent = (end: BatchEnd): UnsentRows | undefined => {
    if (end.kind === "stopped") return { ...UNSENT.failed, hint: end.error.message, status: "failed" };
    const why = end.kind === "cancelled" ? "cancelled" : early;
    return why && { ...UNSENT[why], hint: "send it in a new batch", status: why };
  };
  const run = await BatchRun.prepare(
    {
      ...{ ...paths, inputFormat: "jsonl", strict: true },
      lanes: askedLanes(metadata, { createdAt, expiresAt }),
    },
    {
      ...{ settings, logger, keyNeeded: false, owner: { tenant, by } },
      openStore: async () => store,
      hosted: {
        ...{ id, lease, deadlineAt: expiresAt + DEADLINE_SLACK_MS, unsent },
        ...(work && { keepResults: (lines) => work.append(id, lines) }),
      },
    },
  );
  const watch = async () => {
    const [status, pausedAt] = await store.redis
      .hmget(store.keys.servedBatch(id), "status", "pausedAt")
      .catch(() => []);
    if (status === "cancelling") early ??= "cancelled";
    else if (Date.now() >= expiresAt) early ??= "expired";
    if (pausedAt) isPaused = true;
    if (early !== undefined || isPaused || signal.aborted || lease.lostTo) run.stop();
  };
  using _ = await store.notifier.listen({ [`batch:${id}`]: () => void watch() });
  await watch();
  run.start();
  const report = run.report();
  let isOver = false;
  const over = report
    .catch(() => {})
    .finally(() => {
      isOver = true;
    });
  while (!isOver) {
    await Promise.race([over, delay(WATCH_MS)]);
    await watch();
  }
  const ended = await report;
  if (ended.status !== "interrupted" || early !== undefined) return ended;
  return isPaused ? "paused" : undefined;
}

/** Puts the results into the file store under the ids that the batch has for them, and ends it. */
async function deliver(context: HostContext, batch: ServedBatch, report: BatchReport): Promise<void> {
  const { store } = context;
  const { id } = batch;
  const { total, succeeded, failed, tokens } = report;
  await saveBatch(store, {
    ...{ id, total, succeeded, failed },
    promptTokens: tokens.prompt,
    completionTokens: tokens.completion,
    cachedTokens: tokens.cached,
  });
  const status = await moveServedBatch(store, id, { from: ["in_progress"], to: "finalizing" });
  const { output, errors } = report.files;
  const hasOutput = await keep(
    context,
    batch,
    batch.outputFileId,
    "output",
    Readable.from(successes(output)),
  );
  const isFaulty = failed > 0;
  const hasErrors =
    isFaulty && (await keep(context, batch, batch.errorFileId, "error", createReadStream(errors)));
  const early = isFaulty ? await earlyEnd(errors) : undefined;
  const to = status === "cancelling" ? "cancelled" : (early?.end ?? "completed");
  const faults =
    to === "failed"
      ? [{ code: "batch_stopped", message: early?.reason ?? "", line: null, param: null }]
      : undefined;
  await moveServedBatch(store, id, {
    ...{ from: ["finalizing", "cancelling"], to, faults },
    outputs: { output: hasOutput, errors: hasErrors },
  });
}

/** Stores a result file, if there is anything in it. */
async function keep(
  { store, files }: HostContext,
  { id: batchId, tenant, by, outputLifeSeconds }: ServedBatch,
  id: string,
  kind: "output" | "error",
  source: Readable,
): Promise<boolean> {
  const spooled = await files.spool(id, source);
  const { bytes, sha256 } = spooled;
  if (bytes === 0) {
    await spooled.discard();
    return false;
  }
  await spooled.keep();
  const createdAt = Date.now();
  const expiresAt = createdAt + outputLifeSeconds * 1000;
  const filename = `${batchId}_${kind}.jsonl`;
  await saveFile(store, {
    id,
    tenant,
    by,
    filename,
    purpose: "batch_output",
    bytes,
    sha256,
    createdAt,
    expiresAt,
  });
  return true;
}

/** As `outputLine` ends the line of a row that succeeded; one of a failed row ends with the bracket of its error's. */
const SUCCESS = /"error":null(,"from_cache":true)?(,"lane":"batch")?\}$/;
const TAIL_BYTES = 64;

async function* successes(path: string): AsyncGenerator<Buffer> {
  for await (const { data } of linesOf(path))
    if (SUCCESS.test(data.toString("latin1", Math.max(0, data.length - TAIL_BYTES))))
      yield Buffer.concat([data, NEWLINE]);
}

/** Returns why rows were not sent, as the first of them says; undefined when all were. */
async function earlyEnd(path: string): Promise<{ end: EarlyEnd; reason: string } | undefined> {
  for await (const { data } of linesOf(path)) {
    const { code, message, hint } = fieldsOf(fieldsOf(parseJson(data.toString())).error);
    const end = (Object.keys(UNSENT) as EarlyEnd[]).find((name) => UNSENT[name].code === code);
    if (end) return { end, reason: `${message}: ${hint}` };
  }
  return undefined;
}

const NEWLINE = Buffer.from("\n");

async function* linesOf(path: string): AsyncGenerator<{ data: Buffer }> {
  const handle = await open(path);
  try {
    yield* readLines(handle, MAX_OUTPUT_LINE_BYTES);
  } finally {
    await handle.close();
  }
}
