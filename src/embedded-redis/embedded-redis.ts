import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigurationError } from "../shared/errors.ts";
import { isAlive, type ProcessIdentity } from "../shared/process-identity.ts";
import { type DataFolder, fallbackCacheFolder, prepareDataFolder, unusable } from "./data-folder.ts";
import { findServer, type SystemFolders } from "./find-server.ts";
import { acquireLock, livingHolder } from "./lock.ts";
import { openOnce, probeServer } from "./probe.ts";
import { awaitServer, currentSocketPath, shutDownServer } from "./server.ts";
import { startSupervisor } from "./start-supervisor.ts";

/** The time to start: loading a large append-only file takes about 10 s per gigabyte. */
const START_TIMEOUT_MS = 120_000;
/** The time to stop, longer than a supervisor waits for its server. */
const STOP_TIMEOUT_MS = 30_000;
const DEFAULT_IDLE_SHUTDOWN_MS = 30_000;

export interface EmbeddedRedisOptions {
  /** The folder that the server belongs to: two folders never share data. It is created with mode 0700. */
  dataDir: string;
  system: SystemFolders;
  /** How long the server outlives its last client, in milliseconds; default 30,000. Who starts the server decides. */
  idleShutdownMs?: number;
  /** Gets one line for a user who waits for a download. */
  onProgress?: (line: string) => void;
}

/**
 * Joins the data folder's Redis, or starts it (finding or downloading the program first), and returns its socket. The
 * caller then has `idleShutdownMs` to connect before the server may shut down again.
 * @throws ConfigurationError: `redis_unavailable` (no program, and how to get one), `redis_start_failed` (with the
 * end of its log), `data_folder_unusable`, `lock_timeout`.
 */
export async function ensureEmbeddedRedis(options: EmbeddedRedisOptions): Promise<{ socketPath: string }> {
  return underLock(options, async (folder) => {
    while (!(await join(folder))) await start(folder, options);
    return { socketPath: currentSocketPath(folder) };
  });
}

/**
 * Shuts the data folder's Redis down, whoever uses it. Resolves with true when it has ended with all data on disk, with
 * false when none was running.
 * @throws ConfigurationError (`redis_stop_failed`) when it does not end.
 */
export async function stopEmbeddedRedis(
  options: Pick<EmbeddedRedisOptions, "dataDir" | "system">,
): Promise<boolean> {
  if (!existsSync(options.dataDir)) return false;
  return underLock(options, async (folder) => {
    const socketPath = currentSocketPath(folder);
    const supervisor = livingHolder(folder.supervisorLockPath);
    if (!supervisor && (await probeServer(socketPath)) === "gone") return false;
    try {
      if (supervisor) await endSupervisor(supervisor);
      if ((await probeServer(socketPath)) !== "gone") await endServer(socketPath);
    } catch (error) {
      throw new ConfigurationError(
        `Redis in ${folder.redisDir} could not be stopped: ${(error as Error).message}`,
        `see ${folder.logPath}`,
        "redis_stop_failed",
      );
    }
    return true;
  });
}

/** Returns whether a server with a living supervisor answers, once it is known. */
async function join(folder: DataFolder): Promise<boolean> {
  const supervisorLives = () => livingHolder(folder.supervisorLockPath) !== undefined;
  if (!supervisorLives()) return false;
  try {
    return await awaitServer(folder, supervisorLives, START_TIMEOUT_MS);
  } catch (error) {
    throw new ConfigurationError(
      `Redis in ${folder.redisDir} runs, but ${(error as Error).message}`,
      `see ${folder.logPath}; end process ${livingHolder(folder.supervisorLockPath)?.pid} to have it started again`,
      "redis_start_failed",
    );
  }
}

/** Starts a supervisor, which starts a server or adopts one that has no supervisor. */
async function start(folder: DataFolder, options: EmbeddedRedisOptions): Promise<void> {
  const { system, onProgress, idleShutdownMs = DEFAULT_IDLE_SHUTDOWN_MS } = options;
  const isGone = (await probeServer(currentSocketPath(folder))) === "gone";
  const binary = isGone
    ? await findServer({ system, fallbackCacheDir: fallbackCacheFolder(system.runtimeDir), onProgress })
    : undefined;
  await startSupervisor({ folder, idleShutdownMs, binary }, START_TIMEOUT_MS);
}

async function endSupervisor(supervisor: ProcessIdentity): Promise<void> {
  process.kill(supervisor.pid, "SIGTERM");
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (isAlive(supervisor)) {
    if (performance.now() > deadline)
      throw new Error(`its supervisor (process ${supervisor.pid}) does not end`);
    await delay(20);
  }
}

async function endServer(socketPath: string): Promise<void> {
  const connection = openOnce(socketPath, 5000);
  try {
    await connection.connect();
    await shutDownServer(connection);
  } finally {
    connection.disconnect();
  }
}

async function underLock<T>(
  { dataDir, system }: Pick<EmbeddedRedisOptions, "dataDir" | "system">,
  action: (folder: DataFolder) => Promise<T>,
): Promise<T> {
  try {
    const folder = prepareDataFolder(dataDir, system.runtimeDir);
    const lock = await acquireLock(folder.lockPath);
    try {
      return await action(folder);
    } finally {
      lock.release();
    }
  } catch (error) {
    throw unusable(dataDir, error);
  }
}
