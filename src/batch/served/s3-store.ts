import { randomUUID } from "node:crypto";
import { createWriteStream } from "node:fs";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { CompletedPart } from "@aws-sdk/client-s3";
import { GlueError } from "../../shared/errors.ts";
import { type ByteStore, FILE_ID, lostFile, type SpooledBytes, type WorkStore } from "./byte-store.ts";
import { NO_OBJECT, type S3Bucket } from "./s3-bucket.ts";

/** What is held of a file while it is uploaded; a file has at most 10,000 of them. */
const PART_BYTES = 8 * 1024 * 1024;

/**
 * A folder of a bucket: `files/<id>`. Hosts of batches need no folder in common then: what a batch has brought so far is in
 * `work/<batch>/`, an object for each group of lines.
 */
export class S3ByteStore implements ByteStore {
  readonly work: WorkStore;
  readonly #bucket: S3Bucket;
  readonly #files: string;

  /** @param folder of the bucket, with a slash at its end */
  constructor(bucket: S3Bucket, folder: string) {
    this.#bucket = bucket;
    this.#files = `${folder}files/`;
    this.work = workStore(bucket, `${folder}work/`);
  }

  async open(): Promise<void> {
    await this.#bucket.open();
  }

  async spool(id: string, source: Readable): Promise<SpooledBytes> {
    const upload = new Upload(this.#bucket, this.#keyOf(id));
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        await upload.take(chunk);
      }
      await upload.flush();
    } catch (error) {
      await upload.abort();
      throw error;
    }
    return {
      keep: () => upload.complete(),
      discard: () => upload.abort(),
    };
  }

  async read(id: string, range?: { start: number; end: number }): Promise<Readable> {
    try {
      return await this.#bucket.get(this.#keyOf(id), range);
    } catch (error) {
      throw error instanceof GlueError && error.code === NO_OBJECT ? this.#lost(id) : error;
    }
  }

  async localPath(id: string, folder: string): Promise<string | undefined> {
    const path = join(folder, id);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    // What stands under an id never changes.
    if (isThere) return path;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const temporary = `${path}.${randomUUID()}`;
    try {
      await pipeline(await this.read(id), createWriteStream(temporary, { mode: 0o600 }));
      await rename(temporary, path);
      return path;
    } catch (error) {
      await rm(temporary, { force: true });
      if (error instanceof GlueError && error.code === "file_lost") return undefined;
      throw error;
    }
  }

  async delete(id: string): Promise<void> {
    if (FILE_ID.test(id)) await this.#bucket.delete(this.#keyOf(id));
  }

  async storedBefore(time: number): Promise<string[]> {
    // Of processes that died while they uploaded.
    await this.#bucket.abortUploadsBefore(this.#files, time);
    const keys = await this.#bucket.keys(this.#files, time);
    return keys.map((key) => key.slice(this.#files.length)).filter((id) => FILE_ID.test(id));
  }

  /** Ids come from callers too: nothing else than an id becomes a key. */
  #keyOf(id: string): string {
    if (!FILE_ID.test(id)) throw this.#lost(id);
    return `${this.#files}${id}`;
  }

  #lost(id: string): GlueError {
    return lostFile(id, `in ${this.#bucket.name}`);
  }
}

function workStore(bucket: S3Bucket, folder: string): WorkStore {
  return {
    append: (batchId, lines) => {
      const body = Buffer.from(lines.map((line) => `${line}\n`).join(""));
      return bucket.put(`${folder}${batchId}/${Date.now()}-${randomUUID()}`, body);
    },
    restore: async function* (batchId) {
      for (const key of await bucket.keys(`${folder}${batchId}/`))
        yield* (await bucket.get(key)) as AsyncIterable<Buffer>;
    },
    forget: async (batchId) => {
      for (const key of await bucket.keys(`${folder}${batchId}/`)) await bucket.delete(key);
    },
    begunBefore: async (time) => {
      const keys = await bucket.keys(folder, time);
      return [...new Set(keys.map((key) => key.slice(folder.length).split("/", 1)[0] ?? ""))];
    },
  };
}

/** A file on its way: in parts when it is large, and nobody sees it before it is complete. */
class Upload {
  readonly #bucket: S3Bucket;
  readonly #key: string;
  readonly #pending = Buffer.allocUnsafe(PART_BYTES);
  #length = 0;
  #uploadId: string | undefined;
  readonly #parts: CompletedPart[] = [];

  constructor(bucket: S3Bucket, key: string) {
    this.#bucket = bucket;
    this.#key = key;
  }

  async take(chunk: Buffer): Promise<void> {
    for (let from = 0; from < chunk.length; ) {
      const taken = chunk.copy(this.#pending, this.#length, from);
      this.#length += taken;
      from += taken;
      if (this.#length === PART_BYTES) await this.#putPart();
    }
  }

  /** Sends what is left of a file in parts. */
  async flush(): Promise<void> {
    if (this.#uploadId !== undefined && this.#length > 0) await this.#putPart();
  }

  async complete(): Promise<void> {
    const uploadId = this.#uploadId;
    if (uploadId === undefined) await this.#bucket.put(this.#key, this.#pending.subarray(0, this.#length));
    else await this.#bucket.completeUpload(this.#key, uploadId, this.#parts);
    this.#uploadId = undefined;
  }

  /** What cannot be taken away now, the search for uploads that nobody ended takes. */
  async abort(): Promise<void> {
    const uploadId = this.#uploadId;
    this.#uploadId = undefined;
    if (uploadId !== undefined) await this.#bucket.abortUpload(this.#key, uploadId).catch(() => {});
  }

  async #putPart(): Promise<void> {
    this.#uploadId ??= await this.#bucket.beginUpload(this.#key);
    const body = this.#pending.subarray(0, this.#length);
    this.#parts.push(await this.#bucket.putPart(this.#key, this.#uploadId, this.#parts.length + 1, body));
    this.#length = 0;
  }
}
