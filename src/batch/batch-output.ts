import { rm } from "node:fs/promises";
import { GlueError } from "../shared/errors.ts";
import { type LineCipher, PLAIN_LINES } from "../store/sealed-lines.ts";
import type { OutputFormat } from "./answer-forms.ts";
import type { HostedBatch } from "./batch-end.ts";
import type { DiskIndex } from "./disk-index.ts";
import { AppendFile, replaceFile, temporaryPath } from "./durable-file.ts";
import { type EarlierResults, importEarlierResults } from "./earlier-results.ts";
import { OUT_FILE, type RowUse } from "./index-row.ts";
import { relabelled } from "./output-line.ts";
import { type OutputFiles, outputFiles } from "./output-paths.ts";
import { headerLine, newBatchId } from "./partial-header.ts";
import { type CostOf, type ResultPlace, ResultPlaces, ResultReader } from "./result-places.ts";
import { lineLabel } from "./row-identity.ts";
import type { BatchUse } from "./tally.ts";

/** What earlier results are copied by; each group costs an fsync. */
const GROUP_CHARS = 4 * 1024 * 1024;

export interface OpenOptions {
  outputPath: string;
  /** The id of a batch that has not begun; default: a new one. */
  batchId?: string | undefined;
  /** Scanned; gets the results of earlier runs marked. */
  index: DiskIndex;
  /** Forget earlier failures, so that those rows are sent again. Default false. */
  retryFailed?: boolean;
  /** Whose lines the output gets; default `openai`. */
  format?: OutputFormat;
  /** Default: the cost of no result is known. */
  costOf?: CostOf;
  keepResults?: HostedBatch["keepResults"] | undefined;
  /** Encrypts the lines of all files of the output; default: they are in clear. */
  lines?: LineCipher | undefined;
}

export interface OutputRow {
  id: string;
  /** From `outputLine`: JSON without a line end. */
  line: string;
  failed: boolean;
  use?: RowUse;
}

interface Opened {
  keepResults: OpenOptions["keepResults"];
  lines: LineCipher;
  batchId: string;
  resumed: boolean;
  complete: boolean;
  carried: number;
}

/**
 * A batch's results: appended to `OUT.jsonl.partial` as they come, written to `OUT.jsonl` in input order at the end.
 * Whatever moment a run is killed at, the next one finds every result that `append` returned for.
 */
export class BatchOutput {
  /** From the partial's header, so that every run of the batch has the same; when `complete`, it names nothing. */
  readonly batchId: string;
  /** An earlier run left results, or had at least begun. */
  readonly resumed: boolean;
  /** OUT.jsonl is as it should be already: nothing was and nothing will be written. */
  readonly complete: boolean;
  /** Earlier results of rows the input no longer holds. The paid ones are set aside in `OUT.orphaned.jsonl`. */
  readonly orphaned: number;
  /** Rows that earlier runs finished and this one does not send; without malformed ones. */
  readonly carried: number;
  /** What the carried rows used. */
  readonly use: BatchUse;
  readonly #format: OutputFormat;
  readonly #files: OutputFiles;
  readonly #index: DiskIndex;
  readonly #places: ResultPlaces;
  readonly #partial: AppendFile | undefined;
  readonly #keepResults: OpenOptions["keepResults"];
  readonly #lines: LineCipher;
  #turn: Promise<void> = Promise.resolve();
  #isOpen = true;

  /**
   * @throws InputError when the output holds another input's results, ConfigurationError when it cannot be written.
   */
  static async open({
    outputPath,
    batchId,
    index,
    retryFailed = false,
    format = "openai",
    costOf = () => null,
    keepResults,
    lines = PLAIN_LINES,
  }: OpenOptions): Promise<BatchOutput> {
    const files = outputFiles(outputPath);
    const places = new ResultPlaces(index, costOf);
    const earlier = await importEarlierResults(files, index, places, { format, lines });
    if (retryFailed) index.clearFailed();
    const { succeeded, failed, malformed } = index.counts();
    const carried = succeeded + failed - malformed;
    const { header } = earlier;
    const opened: Opened = {
      keepResults,
      lines,
      batchId: header?.batchId ?? batchId ?? newBatchId(),
      resumed: header !== undefined || carried > 0,
      complete: !header && earlier.outputInOrder && earlier.isInFormat && places.areAllInOutput(),
      carried,
    };
    if (opened.complete) return new BatchOutput(opened, format, files, index, places, undefined);
    const partial = await openPartial(files, opened.batchId, earlier);
    try {
      if (!index.isReopened) await bringInto(partial, files, places, lines);
      index.transaction(() => index.remember("batchId", opened.batchId));
      return new BatchOutput(opened, format, files, index, places, partial);
    } catch (error) {
      await partial.close();
      throw error;
    }
  }

  private constructor(
    { batchId, resumed, complete, carried, keepResults, lines }: Opened,
    format: OutputFormat,
    files: OutputFiles,
    index: DiskIndex,
    places: ResultPlaces,
    partial: AppendFile | undefined,
  ) {
    this.batchId = batchId;
    this.resumed = resumed;
    this.complete = complete;
    this.carried = carried;
    this.orphaned = places.orphanCount();
    this.use = places.use();
    this.#format = format;
    this.#files = files;
    this.#index = index;
    this.#places = places;
    this.#partial = partial;
    this.#keepResults = keepResults;
    this.#lines = lines;
  }

  /**
   * Returns once the results are on the disk: only then may Redis forget them. Rows the index does not know are
   * written all the same, since somebody paid for them.
   * @throws ConfigurationError `output_failed` when the disk is full or fails; then none of the group is kept.
   */
  async append(results: readonly OutputRow[]): Promise<void> {
    const turn = this.#turn.then(() => this.#append(results));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Writes OUT.jsonl and OUT.errors.jsonl, then removes the partial and the index. */
  async finish(): Promise<void> {
    if (!this.#isOpen) return;
    const { missing } = this.#index.counts();
    if (missing > 0) throw misuse(`finish() while ${missing} rows have no result`);
    await this.#turn;
    await this.#partial?.restore();
    if (this.#partial) {
      // Rows that were found malformed since it was opened.
      await bringInto(this.#partial, this.#files, this.#places, this.#lines);
      await this.#writeOutput();
    }
    await this.close({ isFinished: true });
  }

  /** Keeps the partial for a later run, and an index that is to be kept. */
  async close({ isFinished = false } = {}): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.#turn;
    await this.#partial?.close();
    this.#index.close(isFinished || this.complete || !this.#index.isKept);
  }

  async #append(results: readonly OutputRow[]): Promise<void> {
    if (!this.#partial) throw misuse("append() to a batch that is complete");
    const lines = results.map(({ line }) => this.#lines.seal(line));
    const places = await this.#partial.append(lines);
    await this.#keepResults?.(lines);
    this.#index.markDone(
      results.map(({ id, failed, use }, i) => {
        const { offset = 0, bytes = 0 } = places[i] ?? {};
        return { id, failed, outOffset: offset, outBytes: bytes, use };
      }),
    );
  }

  /** The output is replaced last: once it is new, everything else is right and only the partial has to go. */
  async #writeOutput(): Promise<void> {
    const { output, errors, orphaned, partial } = this.#files;
    const reader = new ResultReader(this.#files, this.#lines);
    try {
      await replaceFile(orphaned, reader.chunks(this.#places.orphanPages()));
      await replaceFile(errors, reader.chunks(this.#places.pages("state = 2"), this.#format));
      await replaceFile(output, reader.chunks(this.#places.pages("TRUE"), this.#format));
    } finally {
      reader.close();
    }
    await rm(partial, { force: true });
  }
}

/** A partial to append to: the earlier one without its torn last line, or a new one. */
async function openPartial(
  files: OutputFiles,
  batchId: string,
  { header, partialEnd }: EarlierResults,
): Promise<AppendFile> {
  for (const path of [files.output, files.errors, files.orphaned]) {
    await rm(temporaryPath(path), { force: true });
  }
  return header
    ? AppendFile.reopen(files.partial, partialEnd)
    : AppendFile.create(files.partial, headerLine(batchId));
}

/** Copies into the partial what lies elsewhere or under an old label, and the lines of malformed rows. */
async function bringInto(
  partial: AppendFile,
  files: OutputFiles,
  places: ResultPlaces,
  lines: LineCipher,
): Promise<void> {
  const reader = new ResultReader(files, lines);
  try {
    let group: { line: number; text: string }[] = [];
    let chars = 0;
    const flush = async () => {
      const moves = await partial.append(group.map(({ text }) => lines.seal(text)));
      places.moved(moves.map((place, i) => ({ ...place, line: group[i]?.line ?? 0 })));
      group = [];
      chars = 0;
    };
    for (const entry of strayLines(reader, places)) {
      group.push(entry);
      chars += entry.text.length;
      if (chars >= GROUP_CHARS) await flush();
    }
    if (group.length > 0) await flush();
  } finally {
    reader.close();
  }
}

function* strayLines(reader: ResultReader, places: ResultPlaces): Generator<{ line: number; text: string }> {
  const elsewhere = `model IS NOT NULL AND (out_file IN (${OUT_FILE.output}, ${OUT_FILE.orphaned}) OR relabel)`;
  for (const page of places.pages(elsewhere)) {
    for (const place of page) yield { line: place.line, text: properLine(place, reader) };
  }
  for (const page of places.malformedPages()) {
    for (const { line, output } of page) yield { line, text: output };
  }
}

function properLine(place: ResultPlace, reader: ResultReader): string {
  const text = reader.text(place);
  return place.relabel ? relabelled(text, lineLabel(place.line)) : text;
}

function misuse(message: string): GlueError {
  return new GlueError({ code: "internal", category: "internal", message });
}
