import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { inject } from "vitest";

/** A namespace of this test file's own on the suite's Redis. */
export function testNamespace(): string {
  return `test-${randomUUID().slice(0, 8)}`;
}

/** A connection to the suite's Redis; the caller disconnects it. */
export function testRedis(options: Record<string, unknown> = {}): Redis {
  return new Redis({ path: inject("redisSocket"), maxRetriesPerRequest: null, ...options });
}
