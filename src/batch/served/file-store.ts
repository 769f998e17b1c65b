import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { access, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { GlueError } from "../../shared/errors.ts";
import type { Settings } from "../../shared/settings.ts";

/** Keeps the bytes of files under their ids. What stands under an id never changes; records say whose it is. */
export interface FileStore {
  /** Undefined where all hosts of batches have the same folder for their work. */
  readonly work?: WorkStore;
  /** Is awaited when a process begins, so that what is missing is told then. @throws ConfigurationError */
  open(): Promise<void>;
  /** Takes the bytes of a file, which nobody sees before `keep`. Nothing stays when the source fails. */
  spool(id: string, source: Readable): Promise<SpooledFile>;
  /** Streams the bytes from `start` to `end`, both counted in. @throws GlueError `file_lost` */
  read(id: string, range?: { start: number; end: number }): Promise<Readable>;
  /**
   * Returns the path of a local file with the bytes, which nobody may change; undefined when they are not to be had. Where they are
   * elsewhere it is a copy in `folder`.
   */
  localPath(id: string, folder: string): Promise<string | undefined>;
  /** Deletes the bytes; it is no fault when there are none. */
  delete(id: string): Promise<void>;
  /** Returns the ids of what was stored before that time, in epoch milliseconds; what was spooled and not kept goes. */
  storedBefore(time: number): Promise<string[]>;
}

/** Keeps what batches have brought so far, for hosts that share no folder. */
export interface WorkStore {
  /** Returns once the lines are stored: only then may Redis forget them. */
  append(batchId: string, lines: readonly string[]): Promise<void>;
  /** Streams all lines of a batch, in any order. */
  restore(batchId: string): AsyncIterable<Buffer>;
  forget(batchId: string): Promise<void>;
  /** Returns the ids of batches with lines that were stored before that time, in epoch milliseconds. */
  begunBefore(time: number): Promise<string[]>;
}

export interface SpooledFile {
  bytes: number;
  /** In hexadecimal digits. */
  sha256: string;
  /** It replaces what an earlier try has put under the id. */
  keep(): Promise<void>;
  discard(): Promise<void>;
}

/** The ids of files; nothing else becomes a path or a key. */
export const FILE_ID = /^file-[0-9a-f-]{36}$/;
const SPOOL = "spool-";

/** A folder that its owner alone can read; every process that serves the API or hosts batches needs the same one. */
export class DirectoryFileStore implements FileStore {
  readonly #folder: string;

  constructor({ dataDir, namespace }: Pick<Settings, "dataDir" | "namespace">) {
    this.#folder = join(dataDir, "files", namespace);
  }

  async open(): Promise<void> {}

  async spool(id: string, source: Readable): Promise<SpooledFile> {
    const kept = this.#path(id);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = join(this.#folder, `${SPOOL}${randomUUID()}`);
    const discard = () => rm(path, { force: true });
    const hash = createHash("sha256");
    let bytes = 0;
    const counting = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        bytes += chunk.length;
        done(undefined, chunk);
      },
    });
    try {
      // `flush`: the bytes are on the disk before the file is told to be there.
      await pipeline(source, counting, createWriteStream(path, { flags: "wx", mode: 0o600, flush: true }));
    } catch (error) {
      await discard();
      throw error;
    }
    const keep = async () => {
      await rename(path, kept);
      await syncFolder(this.#folder);
    };
    return { bytes, sha256: hash.digest("hex"), keep, discard };
  }

  async read(id: string, range?: { start: number; end: number }): Promise<Readable> {
    const handle = await open(this.#path(id)).catch((error: unknown) => {
      throw isAbsent(error) ? lost(id) : error;
    });
    return createReadStream("", { ...range, fd: handle });
  }

  async localPath(id: string): Promise<string | undefined> {
    const path = this.#path(id);
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    return isThere ? path : undefined;
  }

  async delete(id: string): Promise<void> {
    await rm(this.#path(id), { force: true });
  }

  async storedBefore(time: number): Promise<string[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const old: string[] = [];
    for (const name of names) {
      const path = join(this.#folder, name);
      const { mtimeMs } = (await stat(path).catch(() => undefined)) ?? { mtimeMs: time };
      if (mtimeMs >= time) continue;
      if (name.startsWith(SPOOL)) await rm(path, { force: true });
      else if (FILE_ID.test(name)) old.push(name);
    }
    return old;
  }

  /** Ids come from callers too: nothing else than an id becomes a path. */
  #path(id: string): string {
    if (!FILE_ID.test(id)) throw lost(id);
    return join(this.#folder, id);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

function lost(id: string): GlueError {
  return lostFile(
    id,
    "in this machine's data folder",
    "all processes that serve the API need the same GLUELLM_DATA_DIR",
  );
}

/** Returns the error of bytes that are not where they should be. */
export function lostFile(id: string, where: string, hint?: string): GlueError {
  const message = `the content of ${id.slice(0, 60)} is not ${where}`;
  return new GlueError({ code: "file_lost", category: "configuration", message, hint });
}
