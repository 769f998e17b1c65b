/** A file that is read at any place. */
export interface InputHandle {
  /** Puts up to `length` bytes from `position` on into the buffer at `offset`; none at the end of the file. */
  read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  stat(): Promise<{ size: number; mtimeMs: number }>;
  close(): Promise<void>;
}

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
export function readLines(
  handle: Pick<InputHandle, "read">,
  maxBytes: number,
  start = 0,
  before = 0,
): AsyncGenerator<FileLine, void> {
  return splitLines(chunksOf(handle, start), maxBytes, start, before);
}

async function* chunksOf(handle: Pick<InputHandle, "read">, start: number): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let position = start; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The lines of bytes that come in chunks, as `readLines` gives them. */
export async function* splitLines(
  chunks: AsyncIterable<Buffer>,
  maxBytes: number,
  start = 0,
  before = 0,
): AsyncGenerator<FileLine, void> {
  const splitter = new LineSplitter(maxBytes, start, before);
  for await (const chunk of chunks) yield* splitter.take(chunk);
  yield* splitter.end();
}

/** Takes bytes in chunks and gives the lines that they end. */
export class LineSplitter {
  readonly #pending: PendingLine;
  #line: number;
  /** Of a byte order mark, while all bytes so far may be one. */
  #mark: Buffer | undefined;

  constructor(maxBytes: number, start = 0, before = 0) {
    this.#pending = new PendingLine(start, maxBytes);
    this.#line = before;
    this.#mark = start === 0 ? Buffer.alloc(0) : undefined;
  }

  *take(given: Buffer): Generator<FileLine, void> {
    let chunk = given;
    if (this.#mark) {
      chunk = this.#mark.length > 0 ? Buffer.concat([this.#mark, given]) : given;
      const head = chunk.subarray(0, BOM.length);
      if (head.length < BOM.length && BOM.subarray(0, head.length).equals(head)) {
        this.#mark = Buffer.from(chunk);
        return;
      }
      this.#mark = undefined;
      if (head.equals(BOM)) {
        chunk = chunk.subarray(BOM.length);
        this.#pending.offset += BOM.length;
      }
    }
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      if (end < 0) break;
      this.#line += 1;
      yield this.#pending.finish(chunk.subarray(from, end), this.#line, true);
      from = end + 1;
    }
    if (from < chunk.length) this.#pending.keep(chunk.subarray(from));
  }

  /** Gives the last line, when it has no line end. */
  *end(): Generator<FileLine, void> {
    if (this.#mark && this.#mark.length > 0) this.#pending.keep(this.#mark);
    if (!this.#pending.isEmpty) yield this.#pending.finish(Buffer.alloc(0), this.#line + 1, false);
  }
}

/** True when the line holds only spaces, tabs and line ends. */
export function isBlank({ data, tooLong }: FileLine): boolean {
  return !tooLong && data.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}
