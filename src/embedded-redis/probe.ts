import { Redis } from "ioredis";

/** What answers on a socket. `silent`: it accepts connections but does not answer in time, as in a long script. */
export type ServerState = "ready" | "loading" | "silent" | "gone";

/** Returns a connection that never retries, to ask whether the server is there. */
export function openOnce(socketPath: string, timeoutMs: number): Redis {
  const client = new Redis({
    path: socketPath,
    lazyConnect: true,
    connectTimeout: timeoutMs,
    // A refused connection would otherwise keep the process alive for ioredis's default of 2 s.
    disconnectTimeout: 50,
    commandTimeout: timeoutMs,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  client.on("error", () => {});
  return client;
}

/** Returns what answers on the socket. It never throws. */
export async function probeServer(socketPath: string, timeoutMs = 1000): Promise<ServerState> {
  const client = openOnce(socketPath, timeoutMs);
  let fault: NodeJS.ErrnoException | undefined;
  client.on("error", (error: NodeJS.ErrnoException) => {
    fault ??= error;
  });
  try {
    await client.connect();
    await client.ping();
    return "ready";
  } catch (error) {
    const text = `${(error as Error).message} ${fault?.code ?? ""} ${fault?.message ?? ""}`;
    if (/\bLOADING\b/.test(text)) return "loading";
    if (/\bBUSY\b/.test(text)) return "ready";
    return /ENOENT|ECONNREFUSED|ECONNRESET|Connection is closed/.test(text) ? "gone" : "silent";
  } finally {
    client.disconnect();
  }
}
