import { type FileHandle, open } from "node:fs/promises";
import { InputError } from "../shared/errors.ts";
import type { LineCipher } from "../store/sealed-lines.ts";
import type { OutputFormat } from "./answer-forms.ts";
import type { DiskIndex } from "./disk-index.ts";
import { inputFileError } from "./file-errors.ts";
import { OUT_FILE } from "./index-row.ts";
import { isBlank, readLines } from "./line-reader.ts";
import { parseOutputLine } from "./output-line.ts";
import type { OutputFiles } from "./output-paths.ts";
import { type PartialHeader, readHeader } from "./partial-header.ts";
import type { ResultFile, ResultPlaces } from "./result-places.ts";
import { lineLabel } from "./row-identity.ts";

/** A result may be larger than its request, but no line of ours reaches this. */
const MAX_RESULT_BYTES = 256 * 1024 * 1024;
const COMMIT_LINES = 2000;

/** What one file of an earlier run holds for this input. */
interface Findings {
  /** Results of well-formed rows of this input. */
  matched: number;
  /** Of the other lines, which are results of no row here or no results at all, those that must not be lost: somebody paid for them, or they are none of ours. */
  kept: number;
  /** The rows' results come in input order. */
  inOrder: boolean;
  /** Whose form its lines have; undefined when it has none. */
  format?: OutputFormat;
  /** Where the last complete line ends. */
  end: number;
}

export interface EarlierResults {
  /** Of the partial, when there is one to go on with. */
  header: PartialHeader | undefined;
  partialEnd: number;
  outputInOrder: boolean;
  /** Its lines have the form that is asked for. */
  isInFormat: boolean;
}

const NOTHING: Findings = { matched: 0, kept: 0, inOrder: true, end: 0 };

/**
 * Looks through what earlier runs left under this output and marks in the index which rows have a result. Writes to
 * no other file.
 * @throws InputError when all of it belongs to another input, and some of it was paid for.
 */
export async function importEarlierResults(
  files: OutputFiles,
  index: DiskIndex,
  places: ResultPlaces,
  { format, lines }: { format: OutputFormat; lines: LineCipher },
): Promise<EarlierResults> {
  const header = readHeader(files.partial);
  const importFrom = (path: string, file: ResultFile, start = 0) =>
    importFile(path, file, start, { index, places, lines });
  const knownEnd = index.recall("partialEnd");
  if (index.isReopened && header) {
    const start = typeof knownEnd === "number" ? knownEnd : header.bytes;
    const { end } = await importFrom(files.partial, OUT_FILE.partial, start);
    index.recount();
    return { header, partialEnd: end, outputInOrder: false, isInFormat: false };
  }
  await importFrom(files.orphaned, OUT_FILE.orphaned);
  const output = await importFrom(files.output, OUT_FILE.output);
  const partial = header ? await importFrom(files.partial, OUT_FILE.partial, header.bytes) : NOTHING;
  index.recount();
  if (output.matched === 0 && output.kept > 0) throw otherInput(files.output);
  if (output.matched + partial.matched === 0 && partial.kept > 0) throw otherInput(files.partial);
  const has = output.format ?? format;
  if (has !== "openai" && has !== format) {
    throw new InputError(
      `${files.output} has lines in the form of ${has}`,
      `run with --format ${has}, or choose another -o`,
      "other_format",
    );
  }
  return { header, partialEnd: partial.end, outputInOrder: output.inOrder, isInFormat: has === format };
}

function otherInput(path: string): InputError {
  return new InputError(
    `${path} holds results of another input or another model`,
    "choose another -o, or move it away",
    "other_input",
  );
}

async function importFile(
  path: string,
  file: ResultFile,
  start: number,
  { index, places, lines }: { index: DiskIndex; places: ResultPlaces; lines: LineCipher },
): Promise<Findings> {
  const handle = await openIfThere(path);
  if (!handle) return NOTHING;
  const findings = { ...NOTHING, end: start };
  const { database } = index;
  let lastLine = 0;
  let count = 0;
  try {
    index.guard(() => database.exec("BEGIN"));
    for await (const line of readLines(handle, MAX_RESULT_BYTES, start)) {
      // A line without its end was never acknowledged: the write that tore it did not return.
      if (!line.ended && file === OUT_FILE.partial) break;
      findings.end = line.nextOffset;
      if (isBlank(line)) continue;
      const text = line.tooLong ? "" : lines.open(line.data.toString());
      const result = parseOutputLine(text);
      // One vendor's line is enough: those of other endpoints stay as they are.
      if (result && (result.format !== "openai" || !findings.format)) findings.format = result.format;
      const match = result && index.guard(() => places.add(result, lineLabel, file, line, text));
      if (match && match.kind !== "orphan") {
        if (match.kind === "row") findings.matched += 1;
        findings.inOrder &&= match.line > lastLine;
        lastLine = match.line;
      } else {
        if (!result?.failed) findings.kept += 1;
      }
      count += 1;
      if (count % COMMIT_LINES === 0) index.guard(() => database.exec("COMMIT; BEGIN"));
    }
    index.guard(() => database.exec("COMMIT"));
    return findings;
  } finally {
    await handle.close();
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw inputFileError(error, path);
  }
}
