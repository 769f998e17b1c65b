import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * The oldest server in use. BullMQ runs on 5.0 and warns below 6.2; 6.0.16 is what Debian 11 and Ubuntu 22.04 ship,
 * so nothing here may use a command newer than 6.0.
 */
const MIN_SERVER_VERSION = "6.0.0";

/** A Redis or Valkey server program that ran at least once on this machine. */
export interface ServerBinary {
  path: string;
  /** `LD_LIBRARY_PATH`, for a downloaded one. */
  libraryPath?: string;
  version: string;
}

/** Runs `--version`; returns the server, or the reason why it cannot be used. */
export async function verifyServer(path: string, libraryPath?: string): Promise<ServerBinary | string> {
  try {
    const { stdout } = await run(path, ["--version"], {
      env: serverEnvironment(libraryPath),
      timeout: 10_000,
    });
    const version = /\bv=(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
    if (!version) return `${path} does not say its version`;
    if (isOlder(version, MIN_SERVER_VERSION)) {
      return `${path} is version ${version}, older than ${MIN_SERVER_VERSION}`;
    }
    return { path, libraryPath, version };
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    return `${path} does not run: ${(stderr || message).trim().split("\n")[0]}`;
  }
}

/** Returns the whole environment of a server: it has no keys of the process that happened to start it. */
export function serverEnvironment(libraryPath?: string): Record<string, string> {
  return { LC_ALL: "C", ...(libraryPath ? { LD_LIBRARY_PATH: libraryPath } : {}) };
}

function isOlder(version: string, minimum: string): boolean {
  return version.localeCompare(minimum, "en", { numeric: true }) < 0;
}
