import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { inject, onTestFinished } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { type ConnectedStore, openStore } from "../../src/store/connected-store.ts";

/** A namespace of this test file's own on the suite's Redis. */
export function testNamespace(): string {
  return `test-${randomUUID().slice(0, 8)}`;
}

/** A connection to the suite's Redis; the caller disconnects it. */
export function testRedis(options: Record<string, unknown> = {}): Redis {
  return new Redis({ path: inject("redisSocket"), maxRetriesPerRequest: null, ...options });
}

/** A process's connections, ended after the test. */
export function testStore(namespace: string, socketPath = inject("redisSocket")): ConnectedStore {
  const store = openStore({ socketPath }, namespace, createLogger({ level: "silent", json: true }));
  onTestFinished(() => store.disconnect());
  return store;
}
