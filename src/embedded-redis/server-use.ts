import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { DataFolder } from "./data-folder.ts";
import { type Lock, tryLock } from "./lock.ts";

export interface WatchOptions {
  /** The supervisor's own connection, the only one that does not count as use. */
  watch: Redis;
  folder: DataFolder;
  idleShutdownMs: number;
  stop: AbortSignal;
}

export interface EndOfUse {
  reason: "no clients" | "asked to stop" | "Redis ended by itself";
  /** The lock of starts, held when the reason is "no clients", so that nobody joins a server that is about to end. */
  startLock?: Lock;
}

/** Resolves when the server has had no client for `idleShutdownMs`, was asked to stop, or is gone. */
export async function untilUnused({ watch, folder, idleShutdownMs, stop }: WatchOptions): Promise<EndOfUse> {
  const pollMs = Math.min(1000, Math.max(20, idleShutdownMs / 5));
  const gone = new AbortController();
  watch.once("end", () => gone.abort());
  const wake = AbortSignal.any([stop, gone.signal]);
  let lastUsedAt = performance.now();
  let connections = -1;
  for (;;) {
    await delay(pollMs, undefined, { signal: wake }).catch(() => {});
    if (gone.signal.aborted) return { reason: "Redis ended by itself" };
    if (stop.aborted) return { reason: "asked to stop" };
    const use = await readUse(watch);
    if (use.clients > 0 || use.connections !== connections) {
      lastUsedAt = performance.now();
      connections = use.connections;
    }
    if (performance.now() - lastUsedAt < idleShutdownMs) continue;
    const startLock = lockStart(folder);
    if (!startLock) continue;
    if ((await readUse(watch)).connections === connections) return { reason: "no clients", startLock };
    startLock.release();
  }
}

/**
 * Returns how many others are connected, and how many connections there ever were: who joins connects for a moment, and
 * then has the whole idle time to connect for good. A server too busy to say counts as used.
 */
async function readUse(watch: Redis): Promise<{ clients: number; connections: number }> {
  try {
    const [clients, stats] = await Promise.all([watch.info("clients"), watch.info("stats")]);
    return {
      clients: Number(/^connected_clients:(\d+)/m.exec(clients)?.[1]) - 1,
      connections: Number(/^total_connections_received:(\d+)/m.exec(stats)?.[1]),
    };
  } catch {
    return { clients: 1, connections: -1 };
  }
}

function lockStart(folder: DataFolder): Lock | undefined {
  try {
    return tryLock(folder.lockPath);
  } catch {
    // The data folder was deleted or cannot be written any more: nobody can join either.
    return { release: () => {} };
  }
}
