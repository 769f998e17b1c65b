import type { FileHandle } from "node:fs/promises";
import { CHUNK_BYTES, type FileCipher, HEAD_BYTES, SEALED_CHUNK_BYTES } from "../../store/sealed-file.ts";
import type { InputHandle } from "../line-reader.ts";

/* The bytes of a sealed file as streams, and read at any place; never more of them in memory than a chunk or two. */

/** Yields a file's bytes sealed. */
export async function* sealedBytes(
  source: AsyncIterable<Buffer>,
  cipher: FileCipher,
): AsyncGenerator<Buffer> {
  yield cipher.head;
  for await (const { number, isLast, piece } of numberedPieces(source, CHUNK_BYTES))
    yield cipher.seal(number, isLast, piece);
}

/** Yields the bytes of a sealed file whose head was read. @throws an Error when it was changed or cut */
export async function* openedBytes(
  sealed: AsyncIterable<Buffer>,
  cipher: FileCipher,
): AsyncGenerator<Buffer> {
  for await (const { number, isLast, piece } of numberedPieces(sealed, SEALED_CHUNK_BYTES))
    yield cipher.open(number, isLast, piece);
}

interface Range {
  start: number;
  end: number;
}

/** Returns where the chunks of a range of bytes lie in the sealed file. */
export function sealedRange({ start, end }: Range): Range {
  const [first, last] = [Math.floor(start / CHUNK_BYTES), Math.floor(end / CHUNK_BYTES)];
  return {
    start: HEAD_BYTES + first * SEALED_CHUNK_BYTES,
    end: HEAD_BYTES + (last + 1) * SEALED_CHUNK_BYTES - 1,
  };
}

/** Yields a range of a file's bytes, of what lies at its `sealedRange`. @throws an Error when it was changed, or ends before */
export async function* openedRange(
  sealed: AsyncIterable<Buffer>,
  cipher: FileCipher,
  { start, end }: Range,
): AsyncGenerator<Buffer> {
  let number = Math.floor(start / CHUNK_BYTES);
  let left = end - start + 1;
  let skipped = start % CHUNK_BYTES;
  for await (const piece of piecesOf(sealed, SEALED_CHUNK_BYTES)) {
    const bytes = openAny(cipher, number++, piece).subarray(skipped, skipped + left);
    skipped = 0;
    left -= bytes.length;
    yield bytes;
  }
  if (left > 0) throw new Error("the file was cut");
}

/** A sealed file on the disk, read as if its bytes were in clear. */
export class SealedHandle implements InputHandle {
  readonly #handle: FileHandle;
  readonly #cipher: FileCipher;
  readonly #fault: () => Error;
  #latest: { number: number; bytes: Buffer } | undefined;

  /** @param fault makes the error of what does not open */
  constructor(handle: FileHandle, cipher: FileCipher, fault: () => Error) {
    this.#handle = handle;
    this.#cipher = cipher;
    this.#fault = fault;
  }

  async read(buffer: Buffer, offset: number, length: number, position: number) {
    let bytesRead = 0;
    while (bytesRead < length) {
      const at = position + bytesRead;
      const chunk = await this.#chunk(Math.floor(at / CHUNK_BYTES));
      const copied = chunk.copy(
        buffer,
        offset + bytesRead,
        at % CHUNK_BYTES,
        (at % CHUNK_BYTES) + length - bytesRead,
      );
      if (copied === 0) break;
      bytesRead += copied;
    }
    return { bytesRead };
  }

  async stat() {
    const { size, mtimeMs } = await this.#handle.stat();
    const sealed = size - HEAD_BYTES;
    const chunks = Math.ceil(sealed / SEALED_CHUNK_BYTES);
    return { size: sealed - chunks * (SEALED_CHUNK_BYTES - CHUNK_BYTES), mtimeMs };
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #chunk(number: number): Promise<Buffer> {
    if (this.#latest?.number === number) return this.#latest.bytes;
    const sealed = Buffer.allocUnsafe(SEALED_CHUNK_BYTES);
    const at = HEAD_BYTES + number * SEALED_CHUNK_BYTES;
    const { bytesRead } = await this.#handle.read(sealed, 0, sealed.length, at);
    if (bytesRead === 0) return Buffer.alloc(0);
    try {
      const bytes = openAny(this.#cipher, number, sealed.subarray(0, bytesRead));
      this.#latest = { number, bytes };
      return bytes;
    } catch {
      throw this.#fault();
    }
  }
}

/** Opens a chunk that may be the last one. */
function openAny(cipher: FileCipher, number: number, sealed: Buffer): Buffer {
  if (sealed.length < SEALED_CHUNK_BYTES) return cipher.open(number, true, sealed);
  try {
    return cipher.open(number, false, sealed);
  } catch {
    return cipher.open(number, true, sealed);
  }
}

/** Yields bytes in pieces of this length, the last one marked: it may be shorter, and is empty where there are no bytes. */
async function* numberedPieces(source: AsyncIterable<Buffer>, length: number) {
  const pieces = piecesOf(source, length);
  let { value: piece = Buffer.alloc(0) } = await pieces.next();
  for (let number = 0; ; number++) {
    const next = await pieces.next();
    const isLast = next.done === true;
    yield { number, isLast, piece };
    if (next.done) return;
    piece = next.value;
  }
}

/** Yields bytes in pieces of this length, of which the last one may be shorter; each has memory of its own. */
async function* piecesOf(source: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer, undefined> {
  let piece = Buffer.allocUnsafe(length);
  let filled = 0;
  for await (const chunk of source) {
    for (let from = 0; from < chunk.length; ) {
      const copied = chunk.copy(piece, filled, from);
      filled += copied;
      from += copied;
      if (filled < length) continue;
      yield piece;
      piece = Buffer.allocUnsafe(length);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}
