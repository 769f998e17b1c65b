import type { ModelRef } from "../shared/model-name.ts";
import type { OutputFormat } from "./answer-forms.ts";
import { BatchOutput } from "./batch-output.ts";
import { DiskIndex } from "./disk-index.ts";
import { InputFile } from "./input-file.ts";
import type { InputFormat } from "./input-form.ts";
import { checkPaths } from "./output-paths.ts";
import type { CostOf } from "./result-places.ts";
import { RowReader } from "./row-reader.ts";
import { type ResolveModel, scanInput } from "./scan-input.ts";

export interface BatchFiles {
  inputPath: string;
  outputPath: string;
  resolveModel: ResolveModel;
  costOf: CostOf;
  inputFormat?: InputFormat;
  /** Default `openai`. */
  format?: OutputFormat;
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
  const { input: inputPath, output: outputPath } = checkPaths(files.inputPath, files.outputPath);
  const input = await InputFile.open({ ...files, inputPath });
  let index: DiskIndex | undefined;
  try {
    index = DiskIndex.create(outputPath);
    const { models } = await scanInput({ ...files, input, index });
    const reader = new RowReader({ ...files, input });
    const output = await BatchOutput.open({ ...files, outputPath, index });
    const close = async () => {
      await input.close();
      await output.close();
    };
    return { files, index, reader, output, models, close };
  } catch (error) {
    await input.close();
    index?.close();
    throw error;
  }
}
