import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { type EmbeddedRedisOptions, stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { outputOf } from "./processes.ts";
import { testSystem } from "./system.ts";

const JOIN = fileURLToPath(new URL("./join-redis.ts", import.meta.url));

/** A new folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "gluellm-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Options of an embedded Redis in a data folder of this test; it is stopped after the test. */
export function redisOptions(changes: Partial<EmbeddedRedisOptions> = {}): EmbeddedRedisOptions {
  const options = {
    dataDir: join(temporaryFolder(), "data"),
    system: testSystem(),
    idleShutdownMs: 5000,
    ...changes,
  };
  onTestFinished(async () => {
    await stopEmbeddedRedis(options);
  });
  return options;
}

/** Joins or starts in a process of its own, which has ended when this resolves. */
export async function joinInOtherProcess(options: EmbeddedRedisOptions): Promise<string> {
  return (await outputOf(process.execPath, [JOIN, JSON.stringify(options)])).trim();
}

/** A connection for one question or a few. */
export async function withClient<T>(socketPath: string, ask: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis({ path: socketPath, retryStrategy: () => null });
  redis.on("error", () => {});
  try {
    return await ask(redis);
  } finally {
    redis.disconnect();
  }
}

export async function serverPid(socketPath: string): Promise<number> {
  const info = await withClient(socketPath, (redis) => redis.info("server"));
  return Number(/^process_id:(\d+)/m.exec(info)?.[1]);
}

export function supervisorPid(dataDir: string): number {
  return JSON.parse(readFileSync(join(dataDir, "redis", "keeper.lock"), "utf8")).pid;
}
