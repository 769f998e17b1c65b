import { fstatSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { outputFileError } from "./file-errors.ts";

const COPY_BYTES = 1024 * 1024;

/** Where a line lies in a file, without its line end. */
export interface Place {
  offset: number;
  bytes: number;
}

/** A file of lines that grows by groups; a group is on the disk, or the file is as long as before. */
export class AppendFile {
  readonly #path: string;
  #handle: FileHandle;
  #size: number;

  /** A new file with a first line, which survives a power cut before this returns. */
  static async create(path: string, firstLine: string): Promise<AppendFile> {
    return writing(path, async () => {
      const handle = await open(path, "w+");
      return closingOnError(handle, async () => {
        const size = await writeAll(handle, Buffer.from(firstLine), 0);
        await handle.sync();
        await syncFolder(path);
        return new AppendFile(path, handle, size);
      });
    });
  }

  /** An existing file, cut back to its first `size` bytes. */
  static async reopen(path: string, size: number): Promise<AppendFile> {
    return writing(path, async () => {
      const handle = await open(path, "r+");
      return closingOnError(handle, async () => {
        await handle.truncate(size);
        return new AppendFile(path, handle, size);
      });
    });
  }

  private constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
  }

  /** One write and one fsync for all lines. @throws ConfigurationError with none of them in the file. */
  async append(lines: readonly string[]): Promise<Place[]> {
    const group = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    await this.restore();
    try {
      await writeAll(this.#handle, group, this.#size);
      await this.#handle.datasync();
    } catch (error) {
      // What stays when even this fails is overwritten by the next group, or cut as a torn line.
      await this.#handle.truncate(this.#size).catch(() => {});
      throw outputFileError(error, this.#path);
    }
    return lines.map((line) => {
      const place = { offset: this.#size, bytes: Buffer.byteLength(line) };
      this.#size += place.bytes + 1;
      return place;
    });
  }

  /** Writes the file anew when somebody deleted it: what it holds is paid for and nowhere else. */
  async restore(): Promise<void> {
    await writing(this.#path, async () => {
      // The kernel knows it: to ask on another thread, before each group of results, would take a hundred times as long.
      if (fstatSync(this.#handle.fd).nlink > 0) return;
      const fresh = await open(this.#path, "wx+");
      await closingOnError(fresh, async () => {
        const chunk = Buffer.alloc(COPY_BYTES);
        for (let at = 0; at < this.#size; ) {
          const { bytesRead } = await this.#handle.read(chunk, 0, Math.min(COPY_BYTES, this.#size - at), at);
          at += await writeAll(fresh, chunk.subarray(0, bytesRead), at);
        }
        await fresh.sync();
        await syncFolder(this.#path);
      });
      await this.#handle.close();
      this.#handle = fresh;
    });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/**
 * Replaces a file in one step: a reader sees the old one or the new one, also after a power cut. No chunk at all
 * removes the file.
 */
export async function replaceFile(path: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  const temporary = temporaryPath(path);
  await writing(path, async () => {
    const handle = await open(temporary, "w");
    let size = 0;
    try {
      for await (const chunk of chunks) size += await writeAll(handle, chunk, size);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (size > 0) await rename(temporary, path);
    else await Promise.all([temporary, path].map((name) => rm(name, { force: true })));
    await syncFolder(path);
  });
}

export function temporaryPath(path: string): string {
  return `${path}.tmp`;
}

async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const isOfSystem = typeof (error as NodeJS.ErrnoException).errno === "number";
    throw isOfSystem ? outputFileError(error, path) : error;
  }
}

async function closingOnError<T>(handle: FileHandle, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** A short write says why only when it is continued. */
async function writeAll(handle: FileHandle, data: Buffer, position: number): Promise<number> {
  let written = 0;
  while (written < data.length) {
    const { bytesWritten } = await handle.write(data, written, data.length - written, position + written);
    written += bytesWritten;
  }
  return written;
}

/** Makes a file's name durable, which its own fsync does not. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
