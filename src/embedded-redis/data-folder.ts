import { chmodSync, existsSync, lstatSync, realpathSync, rmdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { sha256 } from "../shared/digest.ts";
import { ConfigurationError } from "../shared/errors.ts";
import { makeFolder } from "./make-folder.ts";

/** The kernel's limit is 108 bytes on Linux and 104 on macOS. */
const MAX_SOCKET_PATH_BYTES = 100;

/** The places of one embedded Redis: all in one folder, so that one data folder has one server. */
export interface DataFolder {
  /** `<data folder>/redis`: append-only file, log and locks; mode 0700. */
  redisDir: string;
  /** The lock that is held while starting, joining or stopping. */
  lockPath: string;
  /** The lock that the supervisor holds as long as it lives. */
  supervisorLockPath: string;
  /** The file that says which process is the server and where its socket is (see server-record.ts). */
  recordPath: string;
  logPath: string;
  /** The socket of a server that is started anew. */
  socketPath: string;
}

/**
 * Creates the folders with mode 0700 and returns the places in them.
 * @throws ConfigurationError when a folder cannot be created, or the socket's folder is not private.
 */
export function prepareDataFolder(dataDir: string, runtimeDir: string): DataFolder {
  try {
    makeFolder(dataDir);
    const redisDir = privateFolder(join(dataDir, "redis"));
    return {
      redisDir,
      lockPath: join(redisDir, "lock"),
      // The name of version 0.1, whose supervisors may still be running.
      supervisorLockPath: join(redisDir, "keeper.lock"),
      recordPath: join(redisDir, "server.json"),
      logPath: join(redisDir, "redis.log"),
      socketPath: chooseSocketPath(redisDir, runtimeDir),
    };
  } catch (error) {
    throw unusable(dataDir, error);
  }
}

/** Returns the error of a fault of the file system, in words that a user can act on. */
export function unusable(dataDir: string, error: unknown): ConfigurationError {
  if (error instanceof ConfigurationError) return error;
  return new ConfigurationError(
    `the data folder ${dataDir} cannot be used: ${(error as Error).message}`,
    "set GLUELLM_DATA_DIR to a folder you may write, on a disk with free space",
    "data_folder_unusable",
  );
}

function privateFolder(path: string): string {
  makeFolder(path);
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o700);
  return realpathSync(path);
}

function chooseSocketPath(redisDir: string, runtimeDir: string): string {
  const inFolder = join(redisDir, "redis.sock");
  if (fits(inFolder)) return inFolder;
  // The inode is part of the name: a folder that was deleted and made anew is another one.
  const identity = `${redisDir}\n${statSync(redisDir).ino}`;
  const name = `gluellm-${sha256(identity).slice(0, 16)}`;
  const base = [runtimeDir, tmpdir(), "/tmp"].find(
    (folder) => existsSync(folder) && fits(join(folder, name, "redis.sock")),
  );
  if (!base) throw new Error("its path is too long for a socket, and so is the temporary folder's");
  checkPrivate(join(base, name));
  return join(base, name, "redis.sock");
}

/** Creates the folder of a socket that cannot lie in the data folder. */
export function prepareSocketFolder({ redisDir, socketPath }: DataFolder): void {
  if (dirname(socketPath) === redisDir) return;
  makeFolder(dirname(socketPath));
  checkPrivate(dirname(socketPath));
}

/** Removes the folder of a socket that did not lie in the data folder, once the server has ended. */
export function removeSocketFolder(redisDir: string, socketPath: string): void {
  if (dirname(socketPath) === redisDir) return;
  try {
    rmdirSync(dirname(socketPath));
  } catch {
    // Somebody put something else there; an empty folder more or less does no harm.
  }
}

/**
 * Returns the folder of a download when the user's cache cannot be written. It is not in the data folder, which may
 * have come with somebody else's checkout: what lies here is run.
 */
export function fallbackCacheFolder(runtimeDir: string): string {
  const path = join(runtimeDir, `gluellm-cache-${process.getuid?.() ?? "user"}`);
  checkPrivate(path);
  return path;
}

/**
 * Refuses a folder that others can use: under a shared one such as /tmp somebody else may have made it, and listen in
 * it.
 * @throws ConfigurationError (`socket_folder_unsafe`)
 */
function checkPrivate(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat || (stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0)) return;
  throw new ConfigurationError(
    `${path} is not a private folder of this user, so Redis cannot use it`,
    `remove ${path}, or set XDG_RUNTIME_DIR to a private folder`,
    "socket_folder_unsafe",
  );
}

function fits(socketPath: string): boolean {
  return Buffer.byteLength(socketPath) <= MAX_SOCKET_PATH_BYTES;
}
