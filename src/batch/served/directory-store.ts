import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { access, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { GlueError } from "../../shared/errors.ts";
import type { Settings } from "../../shared/settings.ts";
import { type ByteStore, FILE_ID, lostFile, type SpooledBytes } from "./byte-store.ts";

const SPOOL = "spool-";

/** A folder that its owner alone can read; every process that serves the API or hosts batches needs the same one. */
export class DirectoryByteStore implements ByteStore {
  readonly #folder: string;

  constructor({ dataDir, namespace }: Pick<Settings, "dataDir" | "namespace">) {
    this.#folder = join(dataDir, "files", namespace);
  }

  async open(): Promise<void> {}

  async spool(id: string, source: Readable): Promise<SpooledBytes> {
    const kept = this.#path(id);
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = join(this.#folder, `${SPOOL}${randomUUID()}`);
    const discard = () => rm(path, { force: true });
    try {
      // `flush`: the bytes are on the disk before the file is told to be there.
      await pipeline(source, createWriteStream(path, { flags: "wx", mode: 0o600, flush: true }));
    } catch (error) {
      await discard();
      throw error;
    }
    const keep = async () => {
      await rename(path, kept);
      await syncFolder(this.#folder);
    };
    return { keep, discard };
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
