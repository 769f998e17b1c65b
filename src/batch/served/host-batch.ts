import { createWriteStream } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { GlueError } from "../../shared/errors.ts";
import type { BatchFault } from "../../shared/file-check.ts";
import type { Logger } from "../../shared/logger.ts";
import { BATCH_ENDS } from "../../shared/records.ts";
import type { Settings } from "../../shared/settings.ts";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import type { Lease } from "../../store/batch-lease.ts";
import type { ConnectedStore } from "../../store/connected-store.ts";
import { readFile } from "../../store/file-record.ts";
import type { LineCipher } from "../../store/sealed-lines.ts";
import { moveServedBatch, noteFaults, readServedBatch } from "../../store/served-batch.ts";
import { forgetServedBatch } from "../../store/served-batch-list.ts";
import type { ServedBatch } from "../../store/served-batch-record.ts";
import type { BatchEnd, UnsentRows } from "../batch-end.ts";
import { type BatchReport, BatchRun } from "../batch-run.ts";
import { askedLanes } from "../lanes/asked-lanes.ts";
import { outputFiles } from "../output-paths.ts";
import { headerLine } from "../partial-header.ts";
import type { WorkStore } from "./byte-store.ts";
import { checkInput, faultsFound } from "./check-input.ts";
import { deliver, type EarlyEnd, UNSENT } from "./deliver-results.ts";
import type { FileStore } from "./file-store.ts";

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
  const lines = await store.sealing.lines("batch", id);
  const report = await runRows(context, batch, { inputPath, outputPath, lines }, lease);
  if (!report) return false;
  if (report === "paused") return true;
  await deliver(context, batch, report, lines);
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
  const input = await files.read(inputFileId).catch((error: unknown) => {
    if (error instanceof GlueError && error.code === "file_lost") return undefined;
    throw error;
  });
  const onFault = (fault: BatchFault) => noteFaults(store, id, [fault]);
  return input && checkInput(input, endpoint, { ...rules, signal, onFault });
}

/** Returns the report of a run whose output is written; `paused`; undefined when another host has to go on. */
async function runRows(
  { store, settings, logger, signal, files }: HostContext,
  { id, tenant, by, inputFileId, createdAt, expiresAt, metadata }: ServedBatch,
  { lines, ...paths }: { inputPath: string; outputPath: string; lines: LineCipher },
  lease: Lease,
): Promise<BatchReport | "paused" | undefined> {
  const { work } = files;
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
        ...{ id, lease, deadlineAt: expiresAt + DEADLINE_SLACK_MS, unsent, lines },
        openInput: (path) => files.openLocal(inputFileId, path),
        ...(work && { keepResults: (stored) => work.append(id, stored) }),
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
