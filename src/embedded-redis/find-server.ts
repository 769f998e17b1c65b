import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { ConfigurationError } from "../shared/errors.ts";
import { installWithApt } from "./apt-install.ts";
import { type ServerBinary, verifyServer } from "./server-binary.ts";
import { findCachedServer } from "./server-cache.ts";

/** What the embedded Redis needs to know of the machine. */
export interface SystemFolders {
  /** The user's cache; a downloaded server is kept here. */
  cacheDir: string;
  /** The folder for sockets of data folders with a long path. */
  runtimeDir: string;
  /** The folders of `PATH`. */
  searchPath: string;
  /** Variables such as `http_proxy`, for the download. */
  proxyVariables?: Readonly<Record<string, string>>;
}

export interface FindOptions {
  system: SystemFolders;
  /** The folder for the download when the cache cannot be written (a user without a home). */
  fallbackCacheDir: string;
  /** Gets one line for a user who waits. */
  onProgress?: (line: string) => void;
}

/**
 * Returns a server: `redis-server` or `valkey-server` on the search path, an earlier download, or a download
 * with apt that needs no root.
 * @throws ConfigurationError (`redis_unavailable`) that says how to get one.
 */
export async function findServer({
  system,
  fallbackCacheDir,
  onProgress,
}: FindOptions): Promise<ServerBinary> {
  const reasons: string[] = [];
  for (const name of ["redis-server", "valkey-server"]) {
    for (const path of programsOnPath(name, system.searchPath)) {
      const server = await verifyServer(path);
      if (typeof server !== "string") return server;
      reasons.push(server);
    }
  }
  const cacheDirs = [system.cacheDir, fallbackCacheDir];
  for (const cacheDir of cacheDirs) {
    const cached = await findCachedServer(cacheDir);
    if (cached) return cached;
  }
  const [aptGet] = programsOnPath("apt-get", system.searchPath);
  const [dpkgDeb] = programsOnPath("dpkg-deb", system.searchPath);
  if (!aptGet || !dpkgDeb) throw unavailable(reasons);

  onProgress?.("gluellm: downloading Redis with apt (once, a few seconds)…");
  try {
    return await installWithApt({ aptGet, dpkgDeb, cacheDirs, ...system });
  } catch (error) {
    throw unavailable([...reasons, (error as Error).message]);
  }
}

function programsOnPath(name: string, searchPath: string): string[] {
  return searchPath
    .split(delimiter)
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, name))
    .filter(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

const DOCKER =
  "docker run -d -p 127.0.0.1:6379:6379 redis:8 redis-server --appendonly yes, then set GLUELLM_REDIS_URL=redis://127.0.0.1:6379";

function unavailable(reasons: string[]): ConfigurationError {
  const why = reasons.length > 0 ? ` (${reasons.join("; ")})` : "";
  return new ConfigurationError(
    `no Redis or Valkey server was found, and none could be downloaded${why}`,
    process.platform === "darwin"
      ? `run: brew install redis, or: ${DOCKER}`
      : `install redis-server, or run: ${DOCKER}`,
    "redis_unavailable",
  );
}
