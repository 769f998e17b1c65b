import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { findServer } from "../../src/embedded-redis/find-server.ts";
import { serverEnvironment } from "../../src/embedded-redis/server-binary.ts";
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

/** A server of the test's own at a TCP port, with TLS when the settings name a certificate; it ends with the test. */
export async function startRedisServer(settings: Record<string, string> = {}): Promise<RedisServer> {
  const folder = temporaryFolder();
  const system = testSystem();
  const { path, libraryPath } = await findServer({ system, fallbackCacheDir: system.cacheDir });
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
export function redisAt(url: string): Redis {
  const redis = new Redis(url);
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
