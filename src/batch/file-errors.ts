import { ConfigurationError, InputError } from "../shared/errors.ts";

const REASONS: Record<string, string> = {
  ENOENT: "there is no such file",
  ENOTDIR: "a part of its path is not a folder",
  EISDIR: "it is a folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the disk",
  EDQUOT: "the disk quota is used up",
  EFBIG: "the file would become larger than the system allows",
  EIO: "the disk reports an input/output error",
};
/** SQLite's primary result codes: full disk, I/O error. */
const SQLITE_REASONS: Record<number, string> = { 13: "ENOSPC", 10: "EIO" };

function reasonOf(error: unknown): string {
  const { code, errcode } = error as { code?: string; errcode?: number };
  const errno = errcode === undefined ? code : SQLITE_REASONS[errcode & 0xff];
  return REASONS[errno ?? ""] ?? `${code ?? (error as Error)?.name ?? "unknown error"}`;
}

export function inputFileError(error: unknown, path: string): InputError {
  return new InputError(`cannot read ${path}: ${reasonOf(error)}`, "check the path of the input file");
}

/** A file of the output cannot be written: the rows of the group at hand count as not delivered. */
export function outputFileError(error: unknown, path: string): ConfigurationError {
  return new ConfigurationError(
    `cannot write ${path}: ${reasonOf(error)}`,
    "mend that, then run the same command again; it continues where this run stopped",
    "output_failed",
  );
}
