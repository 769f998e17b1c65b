import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { type EmbeddedRedisOptions, ensureEmbeddedRedis } from "./embedded-redis.ts";

const RETRY_MS = 1000;

export interface HoldOptions extends EmbeddedRedisOptions {
  /** Called when the server ended without having been asked, and was started again with its data. */
  onRestart?: () => void;
  /** Called when it could not be started again; that is tried every second. */
  onFault?: (error: Error) => void;
}

export interface HeldRedis {
  socketPath: string;
  /** Ends the hold; the server shuts down once it has no clients for `idleShutdownMs`. */
  release(): void;
}

/**
 * Ensures the embedded Redis for a process that lives longer than one connection: an idle connection keeps the server
 * from shutting down, and a server that is gone (killed, out of memory) is started again. The socket path stays the
 * same, so ioredis connections that wait for their server find it again.
 * @throws ConfigurationError as `ensureEmbeddedRedis` does.
 */
export async function holdEmbeddedRedis(options: HoldOptions): Promise<HeldRedis> {
  let released = false;
  let connection: Socket;
  let socketPath: string;

  async function attach(): Promise<void> {
    ({ socketPath } = await ensureEmbeddedRedis(options));
    connection = await open(socketPath);
    connection.once("close", () => {
      if (!released) void reattach();
    });
  }

  async function reattach(): Promise<void> {
    while (!released) {
      try {
        await attach();
        if (released) connection.destroy();
        else options.onRestart?.();
        return;
      } catch (error) {
        options.onFault?.(error as Error);
        await delay(RETRY_MS, undefined, { ref: false });
      }
    }
  }

  // The server can be gone again by the time of the connection.
  await attach().catch(attach);
  return {
    get socketPath() {
      return socketPath;
    },
    release() {
      released = true;
      connection.destroy();
    },
  };
}

/** Opens a connection that never asks anything: it still counts as a client. */
function open(socketPath: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.unref();
      socket.off("error", reject);
      socket.on("error", () => {});
      socket.resume();
      resolve(socket);
    });
  });
}
