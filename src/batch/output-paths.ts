import {
  accessSync,
  constants,
  existsSync,
  lstatSync,
  readlinkSync,
  renameSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { InputError } from "../shared/errors.ts";
import { inputFileError } from "./file-errors.ts";

/** The files that belong to one output. */
export interface OutputFiles {
  output: string;
  /** Results in the order they came, while the batch is not finished. */
  partial: string;
  /** Where the rows are: a disk index that is rebuilt on each start. */
  index: string;
  /** The failed rows of `output` once more; absent when none failed. */
  errors: string;
  /** Paid results of rows that the input no longer holds. */
  orphaned: string;
  /** What a run's own worker processes beside it logged, of all runs. */
  workerLog: string;
  /** What the batch was quoted. */
  quote: string;
}

const MAX_LINKS = 40;

export interface BatchPaths extends OutputFiles {
  input: string;
}

/** An output that is a link is written through: all its files lie beside the one it leads to. */
export function outputFiles(path: string): OutputFiles {
  const output = linkTarget(path);
  const stem = output.endsWith(".jsonl") ? output.slice(0, -".jsonl".length) : output;
  return {
    output,
    partial: `${output}.partial`,
    index: `${output}.index`,
    errors: `${stem}.errors.jsonl`,
    orphaned: `${stem}.orphaned.jsonl`,
    workerLog: `${stem}.workers.log`,
    quote: `${output}.quote`,
  };
}

/** Where a link leads to, whether something is there or not; the path itself when it is none. */
function linkTarget(path: string, steps = 0): string {
  if (!isLink(path) || steps > MAX_LINKS) return path;
  return linkTarget(resolve(dirname(path), readlinkSync(path)), steps + 1);
}

/**
 * Moves a partial that version 0.1 began beside a link to where the others lie.
 * @throws InputError when that cannot be done
 */
export function adoptPartial(outputPath: string): void {
  const [beside, { partial }] = [`${outputPath}.partial`, outputFiles(outputPath)];
  if (beside === partial || !existsSync(beside) || existsSync(partial)) return;
  try {
    renameSync(beside, partial);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new InputError(
      `cannot move ${beside} to ${partial}: ${code}`,
      `move it there: mv ${beside} ${partial}`,
    );
  }
}

/** Returns whether the path is a link. */
function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

/** Returns whether the path is a link to nothing: who writes there makes a file where nobody looks for it. */
export function isDanglingLink(path: string): boolean {
  return isLink(path) && !existsSync(path);
}

/**
 * Checks what can be known without reading or writing anything.
 * @throws InputError when IN is not a readable file, OUT's folder is missing or closed to us, OUT is something
 * other than a file, or IN is one of OUT's files.
 */
export function checkPaths(inputPath: string, outputPath: string): BatchPaths {
  if (inputPath === "-") throw new InputError("the input cannot be read from standard input", "name a file");
  if (outputPath === "-") {
    throw new InputError(
      "the output cannot go to standard output: it is also where a run resumes from",
      "name a file",
    );
  }
  const input = inputStat(inputPath);
  const files = outputFiles(outputPath);
  checkFolder(files.output);
  for (const path of Object.values(files)) {
    if (isDanglingLink(path))
      throw new InputError(`${path} is a link to nothing`, "remove the link, or choose another -o");
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat && !stat.isFile())
      throw new InputError(`${path} is not a file`, "choose another output with -o");
    const isInput =
      resolve(path) === resolve(inputPath) || (stat && stat.ino === input.ino && stat.dev === input.dev);
    if (isInput) {
      throw new InputError(
        `${inputPath} is the input, the run would overwrite it`,
        "choose another output with -o",
      );
    }
  }
  return { input: inputPath, ...files };
}

function inputStat(path: string): Stats {
  try {
    accessSync(path, constants.R_OK);
    const stat = statSync(path);
    if (stat.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    if (stat.isFile()) return stat;
  } catch (error) {
    throw inputFileError(error, path);
  }
  throw new InputError(
    `${path} is not a file: rows are read by their place in it`,
    "save the input to a file first",
  );
}

function checkFolder(outputPath: string): void {
  const folder = dirname(outputPath);
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) {
    throw new InputError(`the output's folder ${folder} does not exist`, `create it: mkdir -p ${folder}`);
  }
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    throw new InputError(`cannot write into ${folder}: permission denied`, "choose another output with -o");
  }
}
