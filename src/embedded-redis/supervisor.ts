/**
 * The process that owns an embedded Redis: it starts the server as its child, or adopts one that a killed supervisor
 * left behind, and shuts it down when nobody has used it for a while. It never restarts a server that died: the next
 * user does, and learns of it. Its argument is a SupervisorOrder as JSON; its parent waits for one SupervisorReport.
 */
import { type DataFolder, prepareSocketFolder, removeSocketFolder } from "./data-folder.ts";
import { tryLock } from "./lock.ts";
import { openOnce } from "./probe.ts";
import { awaitServer, currentSocketPath, findProcess, shutDownServer, startServer } from "./server.ts";
import type { ServerBinary } from "./server-binary.ts";
import { readServerRecord, removeServerRecord, writeServerRecord } from "./server-record.ts";
import { untilUnused } from "./server-use.ts";

export interface SupervisorOrder {
  folder: DataFolder;
  idleShutdownMs: number;
  /** The program to start; absent when the order is to adopt a server that lives. */
  binary?: ServerBinary;
}

/** What came of an order. `again`: somebody else was quicker, or what was to be adopted is gone: look again. */
export type SupervisorReport = { state: "ready" | "again" } | { state: "failed"; reason: string };

/** How long a server whose supervisor was killed while starting it may take to open its socket. */
const STARTING_GRACE_MS = 2000;

async function main(order: SupervisorOrder): Promise<number> {
  const stop = new AbortController();
  process.on("SIGTERM", () => stop.abort());
  const lock = tryLock(order.folder.supervisorLockPath);
  if (!lock) return report({ state: "again" });
  try {
    if (!(await startOrAdopt(order))) return await report({ state: "again" });
    return await keep(order, stop.signal);
  } catch (error) {
    const reason = (error as Error).message;
    if (!process.connected) console.log(`supervisor ${process.pid}: ${reason}`);
    await report({ state: "failed", reason });
    return 1;
  } finally {
    lock.release();
  }
}

async function startOrAdopt({ folder, binary }: SupervisorOrder): Promise<boolean> {
  const record = readServerRecord(folder.recordPath);
  const graceEnds = performance.now() + STARTING_GRACE_MS;
  const mayStillCome = () => {
    const now = record && readServerRecord(folder.recordPath);
    return now !== undefined && (now.process !== undefined || performance.now() < graceEnds);
  };
  if (await awaitServer(folder, mayStillCome)) return true;
  if (!binary) return false;
  prepareSocketFolder(folder);
  await startServer(binary, folder);
  return true;
}

async function keep({ folder, idleShutdownMs }: SupervisorOrder, stop: AbortSignal): Promise<number> {
  const socketPath = currentSocketPath(folder);
  const watch = openOnce(socketPath, 5000);
  await watch.connect();
  writeServerRecord(folder.recordPath, { socketPath, process: await findProcess(watch) });
  await report({ state: "ready" });

  const end = await untilUnused({ watch, folder, idleShutdownMs, stop });
  console.log(`supervisor ${process.pid}: ${end.reason}`);
  if (end.reason === "Redis ended by itself") return 1;
  try {
    await shutDownServer(watch);
    removeServerRecord(folder.recordPath);
    removeSocketFolder(folder.redisDir, socketPath);
  } finally {
    end.startLock?.release();
  }
  return 0;
}

/** Tells the parent, and returns the exit code 0. A parent that is gone already is no reason to stop. */
async function report(message: SupervisorReport): Promise<number> {
  if (process.connected) await new Promise((done) => process.send?.(message, done));
  return 0;
}

process.exit(await main(JSON.parse(process.argv[2] ?? "{}") as SupervisorOrder));
