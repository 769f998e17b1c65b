import { statSync } from "node:fs";
import type { ModelRef } from "../shared/model-name.ts";
import type { WireOptions } from "../shared/wire-options.ts";
import type { LineCipher } from "../store/sealed-lines.ts";
import type { OutputFormat } from "./answer-forms.ts";
import type { HostedBatch } from "./batch-end.ts";
import { BatchOutput } from "./batch-output.ts";
import { DiskIndex } from "./disk-index.ts";
import { InputFile } from "./input-file.ts";
import type { InputFormat } from "./input-form.ts";
import { createKeptIndex, reopenIndex } from "./kept-index.ts";
import { checkPaths, outputFiles } from "./output-paths.ts";
import type { ResolveModel } from "./resolve-model.ts";
import type { CostOf } from "./result-places.ts";
import { RowReader } from "./row-reader.ts";
import { InputScan, type Speaks } from "./scan-input.ts";

const LARGE_ROWS = 50_000;
/** What is scanned of such a file before anything is sent, as a part of these. */
const HEAD_SHARE = 0.1;

export interface BatchFiles {
  inputPath: string;
  outputPath: string;
  /** The id of a batch that has not begun; default: a new one. */
  batchId?: string | undefined;
  keepResults?: HostedBatch["keepResults"] | undefined;
  openInput?: HostedBatch["openInput"];
  /** Encrypts the lines of what is written; default: they are in clear. */
  lines?: LineCipher | undefined;
  resolveModel: ResolveModel;
  speaks?: Speaks;
  /** What all rows say to their providers beside their requests. */
  wire?: WireOptions | undefined;
  costOf: CostOf;
  /** `provider:model` of the rows that name none. */
  model?: string | undefined;
  inputFormat?: InputFormat;
  /** Default `openai`. */
  format?: OutputFormat;
  promptField?: string;
  limitRows?: number;
  /** From so many rows on, rows are sent while the rest of the file is scanned; default 50,000. */
  largeRows?: number;
  /** Whether all of a large file is scanned before anything is sent. */
  scansWhole?: boolean;
  strict?: boolean;
  retryFailed?: boolean;
}

/** A batch whose input is scanned and whose earlier results are found; nothing was sent yet. */
export interface PreparedBatch {
  files: BatchFiles;
  index: DiskIndex;
  /** Goes on with the rest of a large input. */
  scan: InputScan;
  reader: RowReader;
  output: BatchOutput;
  /** It grows while the input is scanned. */
  models: readonly ModelRef[];
  close(): Promise<void>;
}

function hasResults(outputPath: string): boolean {
  const { output, partial, orphaned } = outputFiles(outputPath);
  return [output, partial, orphaned].some(
    (path) => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0,
  );
}

/**
 * Scans the input, of a large one only the head, and opens the output; needs no Redis.
 * @throws InputError and ConfigurationError before anything is sent (see `scanInput`, `BatchOutput.open`).
 */
export async function prepareBatch(files: BatchFiles): Promise<PreparedBatch> {
  const { input: inputPath, output: outputPath } = checkPaths(files.inputPath, files.outputPath);
  const input = await InputFile.open({ ...files, inputPath });
  let index: DiskIndex | undefined;
  try {
    const basis = { ...files, input, outputPath };
    const { strict, limitRows = Number.POSITIVE_INFINITY, largeRows = LARGE_ROWS } = files;
    const isLarge = !strict && limitRows >= largeRows && (await input.hasRows(largeRows));
    index = isLarge
      ? ((await reopenIndex(basis)) ?? (await createKeptIndex(basis)))
      : DiskIndex.create(outputPath, { ids: files.lines?.ids });
    const scan = new InputScan({ ...files, input, index });
    // What an earlier run left can only be told from another input's results when all rows are known.
    const isSent = isLarge && !files.scansWhole && (index.isReopened || !hasResults(outputPath));
    const headRows = index.isReopened ? 0 : largeRows * HEAD_SHARE;
    await scan.run(isSent ? headRows : undefined);
    const reader = new RowReader({ ...files, input });
    const output = await BatchOutput.open({ ...files, outputPath, index });
    const close = async () => {
      await scan.stop();
      await input.close();
      await output.close();
    };
    return { files, index, scan, reader, output, models: index.models(), close };
  } catch (error) {
    await input.close();
    index?.close(!index.isReopened);
    throw error;
  }
}
