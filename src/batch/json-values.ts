import { InputError } from "../shared/errors.ts";
import type { InputRow, RowStart } from "./input-row.ts";
import type { InputHandle } from "./line-reader.ts";

const CHUNK_BYTES = 256 * 1024;
/** What is kept of a row that is too long. */
const HEAD_BYTES = 4096;
const [NEWLINE, QUOTE, BACKSLASH, COMMA] = [0x0a, 0x22, 0x5c, 0x2c];
const [BRACKET, BRACE] = [0x5b, 0x7b];
const [END_BRACKET, END_BRACE] = [0x5d, 0x7d];
const HINT = "give it one JSON array of objects, or objects one after the other";

/** Where the reader stands between bytes. */
class Place {
  line: number;
  lineOffset: number;

  constructor({ fileLine, offset }: RowStart) {
    this.line = fileLine;
    this.lineOffset = offset;
  }

  toText(offset: number): string {
    return `line ${this.line}, byte ${offset - this.lineOffset + 1}`;
  }
}

/**
 * The objects of a JSON array, or of JSON texts one after the other, over any number of lines. Their brackets and
 * strings alone are looked at: what is within is for the row's own parser. Streamed: no row beyond `maxBytes` is held.
 * @throws InputError where something other than an object stands between them, or the file breaks off.
 */
export async function* readJsonValues(
  handle: InputHandle,
  path: string,
  maxBytes: number,
  start: RowStart,
): AsyncGenerator<InputRow, void> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  const place = new Place(start);
  let position = start.offset;
  let row = start.row;
  let depth = 0;
  let inString = false;
  let isEscaped = false;
  // A later start lies within the array, or between texts: its end may come, or not.
  let array: "unknown" | "open" | "closed" | "none" = start.row > 0 ? "unknown" : "none";
  let isFirst = start.row === 0;
  let rowStart = position;
  let rowLine = place.line;
  const wrong = (offset: number, reason: string) =>
    new InputError(`${path}: ${place.toText(offset)}: ${reason}`, HINT, "invalid_json_file");
  for (;;) {
    const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) break;
    for (let i = 0; i < bytesRead; i += 1) {
      const byte = chunk[i] as number;
      if (byte === NEWLINE) {
        place.line += 1;
        place.lineOffset = position + i + 1;
      }
      if (inString) {
        if (isEscaped) isEscaped = false;
        else if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) inString = false;
        continue;
      }
      if (depth > 0) {
        if (byte === QUOTE) inString = true;
        else if (byte === BRACE || byte === BRACKET) depth += 1;
        else if (byte === END_BRACE || byte === END_BRACKET) depth -= 1;
        if (depth > 0 || (byte !== END_BRACE && byte !== END_BRACKET)) continue;
        row += 1;
        const end = position + i + 1;
        const bytes = end - rowStart;
        const tooLong = bytes > maxBytes;
        const kept = tooLong ? HEAD_BYTES : bytes;
        const inChunk = rowStart >= position;
        const data = inChunk
          ? chunk.subarray(rowStart - position, i + 1).subarray(0, kept)
          : Buffer.alloc(kept);
        if (!inChunk) await handle.read(data, 0, kept, rowStart);
        yield {
          ...{ line: row, fileLine: rowLine, offset: rowStart, bytes, data, tooLong },
          ...{ nextOffset: end, nextFileLine: place.line },
        };
        continue;
      }
      if (isSpace(byte)) continue;
      if (array === "closed") throw wrong(position + i, "the array has ended, and more text follows");
      if (byte === BRACE) {
        depth = 1;
        rowStart = position + i;
        rowLine = place.line;
        isFirst = false;
      } else if (byte === BRACKET && isFirst) {
        array = "open";
        isFirst = false;
      } else if (byte === END_BRACKET && (array === "open" || array === "unknown")) array = "closed";
      else if (byte !== COMMA) throw wrong(position + i, "an object { is expected");
    }
    position += bytesRead;
  }
  if (depth > 0) throw wrong(position, `the file breaks off within the row that begins at line ${rowLine}`);
  if (array === "open") throw wrong(position, "the file breaks off: the array's ] is missing");
}

/** A byte order mark counts as space, at the beginning as between files that were joined. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0xef || byte === 0xbb || byte === 0xbf;
}
