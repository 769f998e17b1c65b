import type { FileHandle } from "node:fs/promises";

const CHUNK_BYTES = 256 * 1024;
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
  /** The line's bytes, only valid until the next line is asked for; of a line that is `tooLong` only its head. */
  data: Buffer;
  tooLong: boolean;
  /** False for a last line without a line end. */
  ended: boolean;
}

/** The line being read: pieces of it that earlier chunks held. */
class PendingLine {
  offset = 0;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #tooLong = false;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  /** Copies the piece, since the chunk's memory is reused; beyond the limit only the first piece is kept. */
  keep(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#tooLong) return;
    this.#tooLong = this.#bytes > this.#maxBytes + 1;
    if (this.#tooLong) this.#pieces.length = Math.min(this.#pieces.length, 1);
    else this.#pieces.push(Buffer.from(piece));
  }

  finish(last: Buffer, line: number, ended: boolean): FileLine {
    const bytes = this.#bytes + last.length;
    const whole = this.#tooLong
      ? (this.#pieces[0] ?? last)
      : this.#pieces.length > 0
        ? Buffer.concat([...this.#pieces, last])
        : last;
    const data = !this.#tooLong && whole.at(-1) === CARRIAGE_RETURN ? whole.subarray(0, -1) : whole;
    const length = this.#tooLong ? bytes : data.length;
    const { offset } = this;
    this.#pieces = [];
    this.offset += bytes + 1;
    this.#bytes = 0;
    this.#tooLong = false;
    return { line, offset, bytes: length, data, tooLong: length > this.#maxBytes, ended };
  }
}

/**
 * The lines of a file from `start` on (a byte order mark at 0 is skipped), streamed: no line beyond `maxBytes` is
 * held in memory.
 */
export async function* readLines(
  handle: FileHandle,
  maxBytes: number,
  start = 0,
): AsyncGenerator<FileLine, void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const pending = new PendingLine(maxBytes);
  pending.offset = start;
  let position = start;
  let line = 0;
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
