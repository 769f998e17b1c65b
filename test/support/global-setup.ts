import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { testSystem } from "./system.ts";

declare module "vitest" {
  interface ProvidedContext {
    redisSocket: string;
  }
}

/** One embedded Redis for the whole suite, whatever REDIS_URL says: it must never be somebody's production. */
export default async function setup(project: TestProject) {
  const dataDir = mkdtempSync(join(tmpdir(), "gluellm-test-"));
  const options = { dataDir, system: testSystem(), onProgress: console.log };
  const redis = await holdEmbeddedRedis({ ...options, idleShutdownMs: 5000 });
  project.provide("redisSocket", redis.socketPath);
  return async () => {
    redis.release();
    await stopEmbeddedRedis(options);
    rmSync(dataDir, { recursive: true, force: true });
  };
}
