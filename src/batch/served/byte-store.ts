import type { Readable } from "node:stream";
import { GlueError } from "../../shared/errors.ts";

/** Keeps bytes under the ids of files, as they come: a folder, or a bucket. What stands under an id never changes. */
export interface ByteStore {
  /** Undefined where all hosts of batches have the same folder for their work. */
  readonly work?: WorkStore;
  /** Is awaited when a process begins, so that what is missing is told then. @throws ConfigurationError */
  open(): Promise<void>;
  /** Takes the bytes of a file, which nobody sees before `keep`. Nothing stays when the source fails. */
  spool(id: string, source: Readable): Promise<SpooledBytes>;
  /** Streams the bytes from `start` to `end`, both counted in; what lies behind the end of the file is left out. @throws GlueError `file_lost` */
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

export interface SpooledBytes {
  /** It replaces what an earlier try has put under the id. */
  keep(): Promise<void>;
  discard(): Promise<void>;
}

/** The ids of files; nothing else becomes a path or a key. */
export const FILE_ID = /^file-[0-9a-f-]{36}$/;

/** Returns the error of bytes that are not where they should be. */
export function lostFile(id: string, where: string, hint?: string): GlueError {
  const message = `the content of ${id.slice(0, 60)} is not ${where}`;
  return new GlueError({ code: "file_lost", category: "configuration", message, hint });
}
