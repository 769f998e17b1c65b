import { isUtf8 } from "node:buffer";
import { Readable } from "node:stream";
import type { CsvError, Options } from "csv-parse";
import { InputError } from "../shared/errors.ts";
import { parseExactly } from "../shared/exact-json.ts";
import type { InputRow, RowStart } from "./input-row.ts";
import type { InputHandle } from "./line-reader.ts";
import { RowFault } from "./row-fault.ts";

/** How a file of comma-separated values is read: its header says which field is which. */
export interface CsvForm {
  format: "csv";
  columns: readonly string[];
  delimiter: string;
  /** Where the first record after the header begins. */
  start: RowStart;
  /** The library's parser, which is loaded with the first file that needs it. */
  parseAll: ParseAll;
}

type ParseAll = (text: string | Buffer, options: Options) => unknown[];

const CHUNK_BYTES = 256 * 1024;
const DELIMITERS = [",", ";", "\t"];
/** Columns that are texts whatever they look like. */
const TEXTS = new Set(["prompt", "custom_id", "model", "system", "method", "url", "key"]);

/** What a record of csv-parse tells with `info`. */
interface Told {
  record: string[];
  info: { bytes: number; lines: number };
}

function options(delimiter: string): Options {
  // Line ends of both kinds come in one file when it was put together from two.
  const record_delimiter = ["\r\n", "\n", "\r"];
  return { delimiter, record_delimiter, bom: true, relax_column_count: true, skip_empty_lines: true };
}

/** Reads the header; undefined when the text does not begin with one that has one of the columns `wanted`. */
export async function readHeader(head: string, wanted: readonly string[]): Promise<CsvForm | undefined> {
  const { parse: parseAll } = await import("csv-parse/sync");
  for (const delimiter of DELIMITERS) {
    const told = firstRecord(parseAll, head, delimiter);
    const columns = told?.record.map((name) => name.trim()) ?? [];
    if (!told || !columns.some((name) => wanted.includes(name))) continue;
    // The record after it begins on the line that the header's end is followed by.
    const start = { row: 0, offset: told.info.bytes, fileLine: told.info.lines + 1 };
    return { format: "csv", columns, delimiter, start, parseAll };
  }
  return undefined;
}

/** The columns of a header that has none of those wanted; undefined when it looks like none. */
export async function columnsOf(head: string): Promise<string[] | undefined> {
  const { parse: parseAll } = await import("csv-parse/sync");
  const found = DELIMITERS.map((delimiter) => firstRecord(parseAll, head, delimiter)?.record ?? []);
  return found.find((record) => record.length > 1);
}

function firstRecord(parseAll: ParseAll, head: string, delimiter: string): Told | undefined {
  try {
    return (parseAll(head, { ...options(delimiter), info: true, to: 1 }) as unknown as Told[])[0];
  } catch {
    return undefined;
  }
}

/**
 * The records of a file, streamed.
 * @throws InputError where quotes are wrong: what follows could be cut anywhere.
 */
export async function* readRecords(
  handle: InputHandle,
  path: string,
  maxBytes: number,
  { delimiter }: CsvForm,
  start: RowStart,
): AsyncGenerator<InputRow, void> {
  const source = Readable.from(chunksOf(handle, start.offset));
  const { parse } = await import("csv-parse");
  const parser = parse({ ...options(delimiter), info: true, max_record_size: maxBytes });
  source.on("error", (error) => parser.destroy(error));
  let { row, offset, fileLine } = start;
  try {
    for await (const { info } of source.pipe(parser) as AsyncIterable<Told>) {
      row += 1;
      const nextOffset = start.offset + info.bytes;
      const bytes = nextOffset - offset;
      const data = Buffer.alloc(bytes);
      await handle.read(data, 0, bytes, offset);
      const nextFileLine = start.fileLine + info.lines;
      yield { line: row, fileLine, offset, bytes, data, tooLong: false, nextOffset, nextFileLine };
      offset = nextOffset;
      fileLine = nextFileLine;
    }
  } catch (error) {
    throw isCsvError(error) ? brokenFile(error, path, start) : error;
  } finally {
    source.destroy();
    parser.destroy();
  }
}

/**
 * A record's fields by their columns; empty ones are absent. Parameters are read as JSON where they are JSON.
 * @throws RowFault when it has more or fewer fields than the header
 */
export function recordFields(
  data: Buffer,
  { columns, delimiter, parseAll }: CsvForm,
  promptField: string | undefined,
): Record<string, unknown> {
  if (!isUtf8(data)) {
    throw new RowFault("invalid_encoding", "the row is not UTF-8 text", 'save the file as "CSV UTF-8"');
  }
  const [record = []] = parseAll(data, options(delimiter)) as unknown as string[][];
  if (record.length !== columns.length) {
    throw new RowFault(
      "invalid_csv_row",
      `the row has ${record.length} fields, the header has ${columns.length}`,
      "put texts with commas, quotes or line breaks into double quotes",
    );
  }
  const pairs = columns.map((name, i) => {
    const text = record[i] as string;
    const isText = TEXTS.has(name) || name === promptField;
    return [name, text === "" ? undefined : isText ? text : readParameter(text)];
  });
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

function readParameter(text: string): unknown {
  try {
    return parseExactly(/^(true|false|null)$/i.test(text) ? text.toLowerCase() : text);
  } catch {
    return text;
  }
}

async function* chunksOf(handle: InputHandle, start: number): AsyncGenerator<Buffer> {
  for (let position = start; ; ) {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

function isCsvError(error: unknown): error is CsvError {
  return typeof (error as CsvError).code === "string" && typeof (error as CsvError).lines === "number";
}

function brokenFile(error: CsvError, path: string, start: RowStart): InputError {
  const { code, lines, column } = error as CsvError & { lines: number; column?: unknown };
  const reasons: Record<string, string> = {
    CSV_QUOTE_NOT_CLOSED: "a quoted text is never closed",
    CSV_INVALID_CLOSING_QUOTE: "a quoted text goes on after its closing quote",
    INVALID_OPENING_QUOTE: "a quote stands within a text that is not quoted",
    CSV_MAX_RECORD_SIZE: "a row is longer than 20 MiB",
  };
  const where = typeof column === "number" ? `, field ${column + 1}` : "";
  return new InputError(
    `${path}:${start.fileLine + lines - 1}${where}: ${reasons[code] ?? "it is not CSV"}`,
    'put texts with quotes, commas or line breaks into double quotes, and write a quote in them as ""',
    "invalid_csv_file",
  );
}
