import { resolve } from "node:path";
import { ProducerQueues } from "../producers/queues.ts";
import { withLogContext } from "../shared/log-context.ts";
import type { Logger } from "../shared/logger.ts";
import type { BatchRecord, BatchStatus } from "../shared/records.ts";
import type { Settings } from "../shared/settings.ts";
import { type Owner, storedOwner } from "../shared/tenant.ts";
import { keyGuardrails } from "../store/api-key.ts";
import { forgetBatchWork, hasBatch, readBatch, saveBatch, startBatch } from "../store/batch.ts";
import { Lease } from "../store/batch-lease.ts";
import type { ConnectedStore } from "../store/connected-store.ts";
import { untilTaken } from "../store/redis-refusal.ts";
import type { Store } from "../store/store.ts";
import { carrierOf } from "../telemetry/trace-context.ts";
import { activeSpan, isTracing, setSpanAttributes, sharedSpan, withSpan } from "../telemetry/tracing.ts";
import type { BatchEnd, HostedBatch } from "./batch-end.ts";
import type { LaneOptions, OnUnknown } from "./lanes/lane-plan.ts";
import type { BatchFiles, PreparedBatch } from "./prepare-batch.ts";
import { quotedUsdOf } from "./quote/quote-file.ts";
import { type RowJobs, rowJobs } from "./row-jobs.ts";
import { RowSender } from "./row-sender.ts";
import { saveCounts } from "./save-counts.ts";
import type { Tally } from "./tally.ts";
import { failMissingRows } from "./unsent-rows.ts";

export interface SendBatchOptions {
  store: ConnectedStore;
  settings: Settings;
  logger: Logger;
  owner?: Owner | undefined;
  batch: PreparedBatch;
  tally: Tally;
  /** What the batch may cost, all its runs together; absent: no limit. */
  maxCostUsd?: number;
  /** Of a batch that a host runs. */
  hosted?: HostedBatch | undefined;
  /** Of all rows; see `JobOptions`. */
  cache?: boolean;
  /** The longest provider call of a row; default: the worker's setting. */
  timeoutMs?: number;
  /** By when all is to be done, and how it may be bought. */
  lanes?: LaneOptions | undefined;
  onUnknown?: OnUnknown | undefined;
  /** Names of the guardrails of its rows. */
  guardrails?: readonly string[];
  /** The ids of the only rows that are sent; absent: all. */
  drawn?: readonly string[] | undefined;
  /** Aborts to withdraw what waits and end. */
  signal: AbortSignal;
}

const STATUS_AT_END: Record<BatchEnd["kind"], BatchStatus> = {
  finished: "completed",
  interrupted: "in_progress",
  cancelled: "cancelled",
  stopped: "failed",
  faulted: "failed",
};

/**
 * Runs a prepared batch to its end and writes its output file when all rows have results.
 * @throws InputError when another run holds the batch.
 */
export async function sendBatch({
  store,
  settings,
  logger,
  owner = {},
  batch,
  tally,
  maxCostUsd,
  hosted,
  cache,
  timeoutMs,
  lanes,
  onUnknown,
  guardrails = [],
  drawn,
  signal,
}: SendBatchOptions): Promise<BatchEnd> {
  const { files, index, scan, reader, output } = batch;
  const id = output.batchId;
  const lease = hosted?.lease ?? (await Lease.acquire(store, id));
  const queues = new ProducerQueues(store, settings.maxQueues);
  try {
    const quoted = quotedUsdOf(files.outputPath, lanes !== undefined);
    const quotedUsd = quoted && JSON.stringify(quoted);
    const jobs = await untilTaken(logger, () => jobsOf(store, id), signal);
    const more = { maxCostUsd, quotedUsd, ...(jobs.areMasked && { rowIds: "masked" as const }) };
    const describe = () => startRecord(store, id, files, { ...more, ...storedOwner(owner) });
    await untilTaken(logger, describe, signal);
    const ofKey = await untilTaken(logger, () => keyGuardrails(store, owner.by), signal);
    const sender = new RowSender({
      store,
      settings,
      logger,
      owner,
      queues,
      index,
      scan,
      reader,
      jobs,
      output,
      lease,
      tally,
      describe,
      hosted,
      cache,
      timeoutMs,
      wire: files.wire,
      // No worker sees what goes by a provider's batch.
      lanes: guardrails.length + ofKey.length > 0 ? undefined : lanes,
      onUnknown,
      guardrails: [...guardrails],
      drawn,
      hasCostLimit: maxCostUsd !== undefined,
    });
    const end = await withLogContext({ batchId: id }, () => traceBatch(batch, () => sender.run(signal)));
    const unsent = end.kind === "finished" ? undefined : hosted?.unsent(end);
    if (unsent) await failMissingRows(batch, unsent);
    if (end.kind === "finished" || unsent) {
      await untilTaken(logger, () => saveBatch(store, { id, status: "finalizing" }));
      await output.finish();
      await forgetBatchWork(store, id);
    }
    await untilTaken(logger, async () => {
      await saveCounts({ store, index, tally }, id);
      await saveBatch(store, { id, status: unsent?.status ?? STATUS_AT_END[end.kind] });
    });
    return end;
  } finally {
    if (!hosted) await lease.release();
    await queues.close();
  }
}

/** One span for all runs of a batch. Its rows are traces of their own, which name it. */
async function traceBatch({ output }: PreparedBatch, run: () => Promise<BatchEnd>): Promise<BatchEnd> {
  if (!isTracing()) return run();
  const { batchId } = output;
  const span = sharedSpan("gluellm.batch", {
    ...{ id: `batch:${batchId}`, kind: "PRODUCER", startedAt: Date.now(), carrier: carrierOf(activeSpan()) },
  });
  const end = await withSpan(span, run);
  setSpanAttributes({ "gluellm.batch.id": batchId, "gluellm.status": end.kind }, span);
  // One that was interrupted goes on later, under the same span.
  if (end.kind !== "interrupted") span.end();
  return end;
}

/** What an earlier run has sent stays known under its ids. */
async function jobsOf(store: Store, id: string): Promise<RowJobs> {
  const begun = (await hasBatch(store, id)) ? await readBatch(store, id) : undefined;
  return rowJobs(store, id, begun ? begun.rowIds === "masked" : store.sealing.isOn);
}

async function startRecord(
  store: Store,
  id: string,
  files: BatchFiles,
  more: Owner & Pick<BatchRecord, "maxCostUsd" | "quotedUsd" | "rowIds">,
): Promise<void> {
  const { inputPath, outputPath, inputFormat, promptField, limitRows, strict, format, model, wire } = files;
  // What rows say beside their requests may hold secrets: then the command alone has all of it.
  const needsCommand = wire !== undefined && Object.keys(wire).length > 0;
  await startBatch(store, {
    id,
    input: resolve(inputPath),
    output: resolve(outputPath),
    options: JSON.stringify({ inputFormat, promptField, limitRows, strict, format, model, needsCommand }),
    ...more,
  });
}
