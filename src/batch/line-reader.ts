import type { FileHandle } from "node:fs/promises";

const CHUNK_BYTES = 256 * 1024;
/** What is kept of a line that is too long. */
const HEAD_BYTES = 4096;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

export interface FileLine {
  /** 1-based; blank lines count. */
  line: number;
  /** Where the line starts in the file. */
  offset: number;
  /** Without its line end (LF or CRLF). */
  bytes: number;
  /** The line's bytes, only valid until the next line is asked for; of a line that is `tooLong` only the first 4 KiB. */
  data: Buffer;
  tooLong: boolean;
  /** False for a last line without a line end. */
  ended: boolean;
  /** Where the next line starts, or would start. */
  nextOffset: number;
}

/** The line being read: copies of the pieces that earlier chunks held, since a chunk's memory is reused. */
class PendingLine {
  offset: number;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #head: Buffer | undefined;
  readonly #maxBytes: number;

  constructor(offset: number, maxBytes: number) {
    this.offset = offset;
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  keep(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#head) return;
    this.#pieces.push(Buffer.from(piece));
    // One byte more than the limit may still be the carriage return.
    if (this.#bytes > this.#maxBytes + 1) this.#cut();
  }

  finish(last: Buffer, line: number, ended: boolean): FileLine {
    const { offset } = this;
    const rawBytes = this.#bytes + last.length;
    let data = this.#head ?? (this.#bytes > 0 ? Buffer.concat([...this.#pieces, last]) : last);
    let bytes = rawBytes;
    if (!this.#head && data.at(-1) === CARRIAGE_RETURN) {
      bytes -= 1;
      data = data.subarray(0, bytes);
    }
    const tooLong = bytes > this.#maxBytes;
    if (tooLong) data = data.subarray(0, HEAD_BYTES);
    this.#pieces = [];
    this.#bytes = 0;
    this.#head = undefined;
    this.offset += rawBytes + 1;
    return { line, offset, bytes, data, tooLong, ended, nextOffset: this.offset };
  }

  #cut(): void {
    this.#head = Buffer.from(Buffer.concat(this.#pieces).subarray(0, HEAD_BYTES));
    this.#pieces = [];
  }
}

/**
 * The lines of a file from `start` on, which comes after line `before` (a byte order mark at 0 is skipped), streamed: no
 * line beyond `maxBytes` is held in memory.
 */
export async function* readLines(
  handle: FileHandle,
  maxBytes: number,
  start = 0,
  before = 0,
): AsyncGenerator<FileLine, void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const pending = new PendingLine(start, maxBytes);
  let position = start;
  let line = before;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) break;
    const hasMark = position === 0 && bytesRead >= BOM.length && BOM.equals(buffer.subarray(0, BOM.length));
    let from = hasMark ? BOM.length : 0;
    pending.offset += from;
    position += bytesRead;
    const chunk = buffer.subarray(0, bytesRead);
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      if (end < 0) break;
      line += 1;
      yield pending.finish(chunk.subarray(from, end), line, true);
      from = end + 1;
    }
    if (from < bytesRead) pending.keep(chunk.subarray(from));
  }
  if (!pending.isEmpty) yield pending.finish(Buffer.alloc(0), line + 1, false);
}

/** True when the line holds only spaces, tabs and line ends. */
export function isBlank({ data, tooLong }: FileLine): boolean {
  return !tooLong && data.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}
