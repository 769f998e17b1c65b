import { expect, onTestFinished, test } from "vitest";
import { BatchHost } from "../../src/batch/served/batch-host.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings, withSettings } from "../../src/shared/settings.ts";
import { cancelServedBatch, createServedBatch, readServedBatch } from "../../src/store/served-batch.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { waitFor } from "../support/wait-for.ts";

test("batches whose input is nowhere end when they are cancelled, and with their window", async () => {
  const folder = temporaryFolder();
  const settings = withSettings(loadSettings({ env: {}, cwd: folder }), { namespace: testNamespace() });
  const store = testStore(settings.namespace);
  const make = (id: string, expiresAt: number) =>
    createServedBatch(store, {
      ...{ id, tenant: "default", endpoint: "/v1/chat/completions", createdAt: Date.now(), expiresAt },
      inputFileId: `file-${crypto.randomUUID()}`,
      outputFileId: `file-${crypto.randomUUID()}`,
      errorFileId: `file-${crypto.randomUUID()}`,
      ...{ completionWindow: "1h", outputLifeSeconds: 3600, metadata: undefined },
    });
  const hour = Date.now() + 3_600_000;
  await make("batch_cancelled", hour);
  await cancelServedBatch(store, "batch_cancelled");
  await make("batch_expired", Date.now());
  await make("batch_waits", hour);
  const host = await BatchHost.start({
    store,
    settings,
    logger: createLogger({ level: "silent", json: true }),
  });
  onTestFinished(() => host.close());
  const status = async (id: string) => (await readServedBatch(store, id))?.status;
  await waitFor("the cancelled one", async () => (await status("batch_cancelled")) === "cancelled");
  await waitFor("the expired one", async () => (await status("batch_expired")) === "expired");
  expect(await status("batch_waits")).toBe("validating");
});
