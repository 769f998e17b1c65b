import { accessSync, constants, realpathSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type BatchReport, filesOfBatch, isDanglingLink } from "../batch/batch-run.ts";
import { ConfigurationError, InputError } from "../shared/errors.ts";
import { jsonText } from "./output.ts";

/**
 * Checks before the run that its report can be written and overwrites neither its input nor its results.
 * @throws InputError
 */
export function checkReportFile(path: string, inputPath: string, outputPath: string): void {
  if (isDanglingLink(path))
    throw new InputError(`the report ${path} is a link to nothing`, "remove the link, or name another file");
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory())
    throw new InputError(`the report ${path} is a folder`, "name a file with --report");
  const taken = filesOfBatch(inputPath, outputPath).map(realPath);
  if (taken.includes(realPath(path))) {
    throw new InputError(
      `the report ${path} would overwrite a file of the batch`,
      "choose another file with --report",
    );
  }
  try {
    accessSync(stat ? path : dirname(resolve(path)), constants.W_OK);
  } catch (error) {
    throw new InputError(
      `the report ${path} cannot be written: ${(error as NodeJS.ErrnoException).code}`,
      "choose another file with --report, in a folder that exists",
    );
  }
}

/** @throws ConfigurationError; the results are safe then. */
export function writeReportFile(path: string, report: BatchReport): void {
  const { id: _id, status: _status, error: _error, files, ...figures } = report;
  try {
    writeFileSync(path, `${jsonText(figures)}\n`);
  } catch (error) {
    throw new ConfigurationError(
      `the report ${path} cannot be written: ${(error as NodeJS.ErrnoException).code}`,
      `mend that and run the same command again; all results are in ${files.output}`,
    );
  }
}

/** Without links, whether the file exists or only its folder. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const folder = dirname(resolve(path));
    return join(statSync(folder, { throwIfNoEntry: false }) ? realpathSync(folder) : folder, basename(path));
  }
}
