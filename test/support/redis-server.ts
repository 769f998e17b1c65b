import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis, type RedisOptions } from "ioredis";
import { onTestFinished } from "vitest";
import { findServer } from "../../src/embedded-redis/find-server.ts";
import { type ServerBinary, serverEnvironment } from "../../src/embedded-redis/server-binary.ts";
import { startProcess } from "./processes.ts";
import { temporaryFolder } from "./redis-folders.ts";
import { testSystem } from "./system.ts";
import { waitFor } from "./wait-for.ts";

export interface RedisServer {
  port: number;
  /** Its working directory. */
  folder: string;
  child: ChildProcess;
}

/** The program that tests start without one of their own. */
export function usualServer(): Promise<ServerBinary> {
  const system = testSystem();
  return findServer({ system, fallbackCacheDir: system.cacheDir });
}

/** A server of the test's own at a TCP port, with TLS when the settings name a certificate; it ends with the test. */
export async function startRedisServer(
  settings: Record<string, string> = {},
  program?: ServerBinary,
): Promise<RedisServer> {
  const folder = temporaryFolder();
  const { path, libraryPath } = program ?? (await usualServer());
  const port = Number(settings.port ?? (await freePort()));
  const ports =
    "tls-cert-file" in settings ? { port: "0", "tls-port": String(port) } : { port: String(port) };
  const options = { ...ports, save: "", dir: folder, ...settings };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const server = startProcess(path, args, { env: serverEnvironment(libraryPath) });
  onTestFinished(() => void server.child.kill("SIGKILL"));
  await waitFor("the server", () => /Ready to accept/.test(server.stdout()));
  return { port, folder, child: server.child };
}

/** A connection to it that ends with the test. */
export function redisAt(url: string, options: RedisOptions = {}): Redis {
  const redis = new Redis(url, options);
  redis.on("error", () => {});
  onTestFinished(() => redis.disconnect());
  return redis;
}

/** A port at which nothing listens now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
