import { expect, test } from "vitest";
import {
  deleteFile,
  type FileRecord,
  keepFileUntil,
  readFile,
  saveFile,
} from "../../src/store/file-record.ts";
import { testNamespace, testStore } from "../support/redis.ts";

const HOUR_MS = 3_600_000;

test("a file lives as long as the last one needs it, and one that is deleted meanwhile stays so", async () => {
  const store = testStore(testNamespace());
  const { redis, keys } = store;
  const createdAt = Date.now();
  const file: FileRecord = {
    ...{ id: "file-1", tenant: "ours", filename: "in.jsonl", purpose: "batch", bytes: 3, sha256: "a" },
    ...{ createdAt, expiresAt: createdAt + HOUR_MS },
  };
  await saveFile(store, file);
  const later = createdAt + 2 * HOUR_MS;
  expect(await keepFileUntil(store, file.id, "ours", later)).toBe(true);
  expect(await keepFileUntil(store, file.id, "ours", createdAt)).toBe(true);
  expect(await readFile(store, file.id, "ours")).toEqual({ ...file, expiresAt: later });
  expect(await redis.zscore(keys.fileExpiries, file.id)).toBe(String(later));
  expect(await keepFileUntil(store, file.id, "theirs", later + 1)).toBe(false);

  const kept = keepFileUntil(store, file.id, "ours", later + HOUR_MS);
  await deleteFile(store, file);
  expect(await kept).toBe(false);
  expect(await redis.exists(keys.file(file.id))).toBe(0);
  expect(await redis.zscore(keys.fileExpiries, file.id)).toBeNull();
});
