import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { GlueError } from "../../shared/errors.ts";
import { HEAD_BYTES } from "../../store/sealed-file.ts";
import type { Sealing } from "../../store/sealing.ts";
import type { InputHandle } from "../line-reader.ts";
import type { ByteStore, SpooledBytes, WorkStore } from "./byte-store.ts";
import { openedBytes, openedRange, SealedHandle, sealedBytes, sealedRange } from "./sealed-bytes.ts";

export interface SpooledFile extends SpooledBytes {
  bytes: number;
  /** In hexadecimal digits. */
  sha256: string;
}

interface Range {
  start: number;
  end: number;
}

/**
 * Keeps files under their ids, encrypted where encryption is on; what was stored before that is read as it is. What stands under an id never
 * changes; records say whose it is.
 */
export class FileStore {
  readonly #bytes: ByteStore;
  readonly #sealing: Sealing;

  constructor(bytes: ByteStore, sealing: Sealing) {
    this.#bytes = bytes;
    this.#sealing = sealing;
  }

  /** Of hosts that share no folder; undefined where they do. */
  get work(): WorkStore | undefined {
    return this.#bytes.work;
  }

  /** Is awaited when a process begins, so that what is missing is told then. @throws ConfigurationError */
  async open(): Promise<void> {
    await this.#bytes.open();
  }

  /** Takes a file, which nobody sees before `keep`. Nothing stays when the source fails. @throws GlueError `encryption_key_missing` */
  async spool(id: string, source: Readable): Promise<SpooledFile> {
    // One that cannot be opened fails before somebody reads it: nobody would hear it, and the process would end.
    source.once("error", () => {});
    const hash = createHash("sha256");
    let bytes = 0;
    async function* counted() {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    }
    try {
      const cipher = await this.#sealing.newFile(id);
      const stored = Readable.from(cipher ? sealedBytes(counted(), cipher) : counted(), {
        objectMode: false,
      });
      const spooled = await this.#bytes.spool(id, stored);
      return { ...spooled, bytes, sha256: hash.digest("hex") };
    } finally {
      source.destroy();
    }
  }

  /**
   * Streams the bytes of a file, or those from `start` to `end`, both counted in.
   * @throws GlueError `file_lost`, `encryption_key_missing`; the stream fails with `corrupt_data` when what is encrypted was changed or cut
   */
  async read(id: string, range?: Range): Promise<Readable> {
    return range ? this.#readRange(id, range) : this.#readAll(id);
  }

  /**
   * Returns the path of a local file with what is stored, which nobody may change; undefined when it is not to be had. Where it is
   * elsewhere it is a copy in `folder`. `openLocal` reads it.
   */
  async localPath(id: string, folder: string): Promise<string | undefined> {
    return this.#bytes.localPath(id, folder);
  }

  /** Opens a file at its `localPath`. @throws as `read` */
  async openLocal(id: string, path: string): Promise<InputHandle> {
    const handle = await open(path);
    try {
      const head = Buffer.alloc(HEAD_BYTES);
      const { bytesRead } = await handle.read(head, 0, HEAD_BYTES, 0);
      const cipher = await this.#sealing.storedFile(id, head.subarray(0, bytesRead));
      return cipher ? new SealedHandle(handle, cipher, () => damaged(id)) : handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Deletes a file; it is no fault when there is none. */
  async delete(id: string): Promise<void> {
    await this.#bytes.delete(id);
  }

  /** Returns the ids of what was stored before that time, in epoch milliseconds; what was spooled and not kept goes. */
  async storedBefore(time: number): Promise<string[]> {
    return this.#bytes.storedBefore(time);
  }

  async #readAll(id: string): Promise<Readable> {
    const source = await this.#bytes.read(id);
    try {
      const chunks = source.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
      const begun = await upTo(chunks, HEAD_BYTES);
      const cipher = await this.#sealing.storedFile(id, begun);
      const rest = following(begun.subarray(cipher ? HEAD_BYTES : 0), chunks);
      return streamOf(cipher ? openedBytes(rest, cipher) : rest, source, id);
    } catch (error) {
      source.destroy();
      throw error;
    }
  }

  async #readRange(id: string, range: Range): Promise<Readable> {
    const chunks = (await this.#bytes.read(id, { start: 0, end: HEAD_BYTES - 1 })) as AsyncIterable<Buffer>;
    const cipher = await this.#sealing.storedFile(id, Buffer.concat(await Array.fromAsync(chunks)));
    const source = await this.#bytes.read(id, cipher ? sealedRange(range) : range);
    return cipher ? streamOf(openedRange(source, cipher, range), source, id) : source;
  }
}

/** Returns the first bytes: so many, more of them where a chunk has them, fewer at the end. */
async function upTo(chunks: AsyncIterator<Buffer>, count: number): Promise<Buffer> {
  let begun = Buffer.alloc(0);
  while (begun.length < count) {
    const { value, done } = await chunks.next();
    if (done) break;
    begun = Buffer.concat([begun, value]);
  }
  return begun;
}

async function* following(begun: Buffer, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  if (begun.length > 0) yield begun;
  yield* chunks;
}

/** A stream whose end ends its source, and whose errors say which file is damaged. */
function streamOf(bytes: AsyncGenerator<Buffer>, source: Readable, id: string): Readable {
  async function* told() {
    try {
      yield* bytes;
    } catch (error) {
      throw source.errored ?? (error instanceof GlueError ? error : damaged(id));
    }
  }
  const stream = Readable.from(told(), { objectMode: false });
  return stream.once("close", () => source.destroy());
}

function damaged(id: string): GlueError {
  return new GlueError({
    code: "corrupt_data",
    category: "internal",
    message: `the content of ${id} cannot be decrypted: it was changed or cut, or belongs to another file`,
    hint: "restore it from a backup, or send it again",
  });
}
