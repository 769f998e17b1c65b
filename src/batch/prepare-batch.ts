import type { ModelRef } from "../shared/model-name.ts";
import { BatchOutput } from "./batch-output.ts";
import { DiskIndex } from "./disk-index.ts";
import { checkPaths } from "./output-paths.ts";
import type { CostOf } from "./result-places.ts";
import { RowReader } from "./row-reader.ts";
import { type ResolveModel, scanInput } from "./scan-input.ts";

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
