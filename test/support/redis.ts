import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { inject, onTestFinished } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import type { ResultRecord } from "../../src/shared/records.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { type ConnectedStore, openStore } from "../../src/store/connected-store.ts";
import { keyRingOf } from "../../src/store/key-ring.ts";
import { readRecord } from "../../src/store/result-record.ts";
import { storeOf } from "../../src/store/store.ts";

/** A namespace of this test file's own on the suite's Redis. */
export function testNamespace(): string {
  return `test-${randomUUID().slice(0, 8)}`;
}

/** A connection to the suite's Redis; the caller disconnects it. */
export function testRedis(options: Record<string, unknown> = {}): Redis {
  return new Redis({ path: inject("redisSocket"), maxRetriesPerRequest: null, ...options });
}

/** Set by `npm run test:encrypted`; a test that looks at texts in Redis by intent says `test.skipIf(isEncrypted)`, and why. */
export const isEncrypted = process.env.GLUELLM_TEST_ENCRYPTION === "1";

/** All that a site keeps is encrypted. */
export const encryptionEnv: Record<string, string> = isEncrypted
  ? { GLUELLM_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}` }
  : {};

/** What tests decrypt with; undefined: nothing is encrypted. */
export function testRing() {
  return keyRingOf(loadSettings({ env: encryptionEnv, cwd: "/" }).encryption);
}

/** The result record of a job, decrypted; undefined when there is none. */
export function recordIn(redis: Redis, namespace: string, jobId: string): Promise<ResultRecord | undefined> {
  return readRecord(storeOf(redis, namespace, testRing()), jobId);
}

/** A process's connections, ended after the test. */
export function testStore(namespace: string, socketPath = inject("redisSocket")): ConnectedStore {
  const logger = createLogger({ level: "silent", json: true });
  const store = openStore({ socketPath }, namespace, logger, testRing());
  onTestFinished(() => store.disconnect());
  return store;
}
