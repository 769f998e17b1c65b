import { expect, test } from "vitest";
import { createServedBatch, moveServedBatch, readServedBatch } from "../../src/store/served-batch.ts";
import { testNamespace, testStore } from "../support/redis.ts";

test("a batch that is there stays as it is when the request that made it comes again", async () => {
  const store = testStore(testNamespace());
  const createdAt = Date.now();
  const asked = {
    ...{ id: "batch_a", tenant: "default", endpoint: "/v1/chat/completions" as const, createdAt },
    ...{ inputFileId: "file-a", outputFileId: "file-b", errorFileId: "file-c", metadata: { n: "1" } },
    ...{ completionWindow: "24h", expiresAt: createdAt + 86_400_000, outputLifeSeconds: 3600 },
  };
  expect(await createServedBatch(store, asked)).toBe(true);
  await moveServedBatch(store, "batch_a", { from: ["validating"], to: "in_progress" });
  const begun = await readServedBatch(store, "batch_a");
  expect(begun).toMatchObject({ status: "in_progress", outputFileId: "file-b", metadata: { n: "1" } });
  expect(await createServedBatch(store, { ...asked, inputFileId: "file-d", outputFileId: "file-e" })).toBe(
    false,
  );
  expect(await readServedBatch(store, "batch_a")).toEqual(begun);
});
