import { spawn } from "node:child_process";
import { basename, dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { identityOf, isAlive, type ProcessIdentity } from "../shared/process-identity.ts";
import type { DataFolder } from "./data-folder.ts";
import { probeServer } from "./probe.ts";
import { type ServerBinary, serverEnvironment } from "./server-binary.ts";
import { readServerRecord, removeServerRecord, writeServerRecord } from "./server-record.ts";

const POLL_MS = 20;
const STOP_TIMEOUT_MS = 20_000;

/** Returns the socket of the server that lives, else the one that a new server would open. */
export function currentSocketPath(folder: DataFolder): string {
  return readServerRecord(folder.recordPath)?.socketPath ?? folder.socketPath;
}

/**
 * Waits for a server to answer, and returns true; false when there is none and `mayStillCome` says there will be none.
 * @throws Error when something is there but does not answer within `timeoutMs`.
 */
export async function awaitServer(
  folder: DataFolder,
  mayStillCome: () => boolean,
  timeoutMs = Number.POSITIVE_INFINITY,
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const stillComing = mayStillCome();
    const state = await probeServer(currentSocketPath(folder));
    if (state === "ready") return true;
    if (state === "gone" && !stillComing) return false;
    if (performance.now() > deadline) throw new Error(`it has not answered for ${timeoutMs / 1000} s`);
    await delay(POLL_MS);
  }
}

/**
 * Starts the server as a child of this process, which shares its output, and waits until it has loaded its data,
 * however long that takes.
 * @throws Error when it ends before that.
 */
export async function startServer(binary: ServerBinary, folder: DataFolder): Promise<void> {
  const { socketPath, recordPath } = folder;
  writeServerRecord(recordPath, { socketPath });
  const child = spawn(binary.path, serverArguments(folder), {
    cwd: folder.redisDir,
    env: serverEnvironment(binary.libraryPath),
    stdio: ["ignore", "inherit", "inherit"],
  });
  let ended: string | undefined;
  child.once("error", (error) => {
    ended = error.message;
  });
  child.once("exit", (code, signal) => {
    ended ??= signal ? `it was ended by ${signal}` : `it exited with code ${code}`;
  });
  const identity = child.pid === undefined ? undefined : identityOf(child.pid);
  if (identity) writeServerRecord(recordPath, { socketPath, process: identity });
  if (await awaitServer(folder, () => ended === undefined)) return;
  removeServerRecord(recordPath);
  throw new Error(ended);
}

function serverArguments({ socketPath, redisDir }: DataFolder): string[] {
  const options = {
    port: "0",
    unixsocket: dirname(socketPath) === redisDir ? basename(socketPath) : socketPath,
    unixsocketperm: "700",
    // Its working directory is the folder: a path in an argument would have to survive the server's quoting rules.
    dir: ".",
    daemonize: "no",
    appendonly: "yes",
    appendfsync: "everysec",
    // Snapshots would only repeat what the append-only file holds.
    save: "",
    "maxmemory-policy": "noeviction",
    loglevel: "notice",
    logfile: "",
  };
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
}

/**
 * Asks the server behind a connection to write everything to disk and end, then waits until it is gone.
 * @throws Error when it still lives after 20 s (a disk that cannot be written makes it refuse).
 */
export async function shutDownServer(connection: Redis): Promise<void> {
  const server = await findProcess(connection);
  // NOSAVE is about snapshots; the append-only file is written and synced. A server that ends closes the
  // connection instead of answering; whether it ended is seen below.
  await connection.call("SHUTDOWN", "NOSAVE").catch(() => {});
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (isAlive(server)) {
    if (performance.now() > deadline) {
      throw new Error(`Redis (process ${server.pid}) did not end within ${STOP_TIMEOUT_MS / 1000} s`);
    }
    await delay(POLL_MS);
  }
}

/** Returns the process of the server behind a connection. @throws Error when it is on another machine. */
export async function findProcess(connection: Redis): Promise<ProcessIdentity> {
  const pid = Number(/^process_id:(\d+)/m.exec(await connection.info("server"))?.[1]);
  const identity = identityOf(pid);
  if (!identity) throw new Error("Redis answers, but its process is not on this machine");
  return identity;
}
