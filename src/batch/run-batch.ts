import { resolve } from "node:path";
import { ProducerQueues } from "../producers/queues.ts";
import type { Logger } from "../shared/logger.ts";
import type { ModelRef } from "../shared/model-name.ts";
import type { BatchStatus } from "../shared/records.ts";
import type { Settings } from "../shared/settings.ts";
import { forgetBatchWork, readBatch, saveBatch, startBatch } from "../store/batch.ts";
import { Lease } from "../store/batch-lease.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { Store } from "../store/store.ts";
import { BatchOutput } from "./batch-output.ts";
import { DiskIndex } from "./disk-index.ts";
import { type FeedEnd, Feeder, saveCounts } from "./feeder.ts";
import { checkPaths } from "./output-paths.ts";
import type { CostOf } from "./result-places.ts";
import { RowReader } from "./row-reader.ts";
import { type ResolveModel, scanInput } from "./scan-input.ts";
import type { Tally } from "./tally.ts";

export interface BatchFiles {
  inputPath: string;
  outputPath: string;
  resolveModel: ResolveModel;
  costOf: CostOf;
  promptField?: string;
  limitRows?: number;
  strict?: boolean;
  retryFailed?: boolean;
}

/** A batch whose input is scanned and whose earlier results are found; nothing was sent yet. */
export interface PreparedBatch {
  files: BatchFiles;
  index: DiskIndex;
  reader: RowReader;
  output: BatchOutput;
  models: readonly ModelRef[];
  close(): Promise<void>;
}

/**
 * Scans the input and opens the output; needs no Redis.
 * @throws InputError and ConfigurationError before anything is sent (see `scanInput`, `BatchOutput.open`).
 */
export async function prepareBatch(files: BatchFiles): Promise<PreparedBatch> {
  const { input, output: outputPath } = checkPaths(files.inputPath, files.outputPath);
  const index = DiskIndex.create(outputPath);
  let reader: RowReader | undefined;
  try {
    const { models } = await scanInput({ ...files, inputPath: input, index });
    reader = await RowReader.open({ ...files, inputPath: input });
    const opened = reader;
    const output = await BatchOutput.open({ ...files, outputPath, index });
    const close = async () => {
      await opened.close();
      await output.close();
    };
    return { files, index, reader, output, models, close };
  } catch (error) {
    await reader?.close();
    index.close();
    throw error;
  }
}

export interface FeedOptions {
  store: Store;
  settings: Settings;
  logger: Logger;
  batch: PreparedBatch;
  tally: Tally;
  /** What the batch may cost, all its runs together; absent: no limit. */
  maxCostUsd?: number;
  /** Of all rows; see `JobOptions`. */
  cache?: boolean;
  /** Aborts to withdraw what waits and end. */
  signal: AbortSignal;
}

const STATUS_AT_END: Record<FeedEnd["kind"], BatchStatus> = {
  finished: "completed",
  interrupted: "in_progress",
  cancelled: "cancelled",
  stopped: "failed",
};

/**
 * Runs a prepared batch to its end and writes its output file when all rows have results.
 * @throws InputError when another run holds the batch.
 */
export async function feedBatch({
  store,
  settings,
  logger,
  batch,
  tally,
  maxCostUsd,
  cache,
  signal,
}: FeedOptions): Promise<FeedEnd> {
  const { files, index, reader, output } = batch;
  const id = output.batchId;
  const lease = await Lease.acquire(store, id);
  const subscriber = store.redis.duplicate();
  subscriber.on("error", () => {});
  const queues = new ProducerQueues(store);
  try {
    await subscriber.subscribe(store.keys.channel);
    const describe = () => startRecord(store, id, files, maxCostUsd);
    await untilTaken(logger, describe);
    const feeder = new Feeder({
      store,
      subscriber,
      settings,
      logger,
      queues,
      index,
      reader,
      output,
      lease,
      tally,
      describe,
      cache,
    });
    const end = await feeder.run(signal);
    if (end.kind === "finished") {
      await untilTaken(logger, () => saveBatch(store, { id, status: "finalizing" }));
      await output.finish();
      await forgetBatchWork(store, id);
    }
    await untilTaken(logger, async () => {
      await saveCounts({ store, index, tally }, id);
      await saveBatch(store, { id, status: STATUS_AT_END[end.kind] });
    });
    return end;
  } finally {
    await lease.release();
    await queues.close();
    subscriber.disconnect();
  }
}

async function startRecord(
  store: Store,
  id: string,
  files: BatchFiles,
  maxCostUsd: number | undefined,
): Promise<void> {
  const { inputPath, outputPath, promptField, limitRows, strict } = files;
  await startBatch(store, {
    id,
    input: resolve(inputPath),
    output: resolve(outputPath),
    options: JSON.stringify({ promptField, limitRows, strict }),
    maxCostUsd,
  });
}

/** The 429s and retries of a batch over all its runs, as its workers counted them. */
export async function readFaultCounts(
  store: Store,
  batchId: string,
): Promise<{ retries: number; rateLimited: number }> {
  const record = await readBatch(store, batchId);
  return { retries: record?.retries ?? 0, rateLimited: record?.rateLimited ?? 0 };
}
