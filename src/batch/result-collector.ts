import type { ResultRecord } from "../shared/records.ts";
import { acknowledge, readDoneList } from "../store/batch-done-list.ts";
import { inlineResult } from "../store/completed-record.ts";
import type { Store } from "../store/store.ts";
import type { BatchOutput, OutputRow } from "./batch-output.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { IndexRow, RowStanding } from "./index-row.ts";
import { outputLine } from "./output-line.ts";
import type { RowJobs } from "./row-jobs.ts";
import type { RowReader } from "./row-reader.ts";
import type { Tally } from "./tally.ts";
import type { Windows } from "./window.ts";

interface ResultCollectorOptions {
  store: Store;
  index: DiskIndex;
  reader: RowReader;
  jobs: RowJobs;
  output: BatchOutput;
  tally: Tally;
  windows: Windows;
  /** The result of a job's row is safe in the file. */
  forget: (jobId: string) => Promise<void>;
}

/** Moves results from a batch's done-list into its file. */
export class ResultCollector {
  readonly #options: ResultCollectorOptions;
  readonly #batchId: string;

  constructor(options: ResultCollectorOptions) {
    this.#options = options;
    this.#batchId = options.output.batchId;
  }

  /** Writes and syncs the next results, then forgets them in Redis. Returns how many it took. */
  async collect(): Promise<number> {
    const { store, output, tally, index, windows, reader, jobs, forget } = this.#options;
    const entries = await readDoneList(store, this.#batchId);
    const lines: OutputRow[] = [];
    const taken: { jobId: string; queue: string; record: ResultRecord | undefined }[] = [];
    for (const { jobId, record } of entries) {
      const id = jobs.rowIdOf(jobId);
      const row = index.standing(id);
      taken.push({ jobId, queue: windows.queueOf(row?.model?.key) ?? "none", record });
      if (!record || !row || !this.#isNews(jobId, row, record)) continue;
      const named = windows.find(jobId) ?? (await reader.readRow(index.find(id) as IndexRow));
      const line = outputLine(named, await inlineResult(store, record));
      const { tokens, costUsd, fromCache = false, lane } = record;
      const use = { ...tokens, costUsd, fromCache, lane };
      lines.push({ id, line, failed: record.status !== "succeeded", use });
      tally.add(named.customId, record);
    }
    if (lines.length > 0) await output.append(lines);
    await acknowledge(store, this.#batchId, taken);
    // An entry whose record is gone brings nothing: its row stays in flight until it is found again or lost.
    for (const { jobId, record } of taken) if (record) await forget(jobId);
    return entries.length;
  }

  #isNews(jobId: string, { state }: RowStanding, { status, error }: ResultRecord): boolean {
    if (state === "failed") return status === "succeeded";
    // Its time ran out while nobody ran the batch: this run sends it with time of its own.
    const isStale = error?.code === "deadline_exceeded" && !this.#options.windows.find(jobId);
    return state === "missing" && !isStale;
  }
}
