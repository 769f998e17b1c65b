import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { localKey } from "../../src/host/local-key.ts";
import { readToken } from "../../src/shared/api-token.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";

test("the key of a data folder is made once; whoever reads its file finds it whole", async () => {
  const dataDir = temporaryFolder();
  const namespace = testNamespace();
  const path = join(dataDir, `api-key.${namespace}`);
  // Looks at the file without a pause, and says what it was when it was first there.
  const reader = new Worker(
    `const { readFileSync } = require("node:fs");
     const { parentPort, workerData } = require("node:worker_threads");
     parentPort.postMessage("begun");
     for (;;) try { parentPort.postMessage(readFileSync(workerData, "utf8")); break; } catch {}`,
    { eval: true, workerData: path },
  );
  const texts: string[] = [];
  const seen = new Promise<void>((resolve) => {
    reader.on("message", (text) => texts.push(text) === 2 && resolve());
  });
  await expect.poll(() => texts.length).toBe(1);
  const store = testStore(namespace);
  const settings = { dataDir, namespace } as Parameters<typeof localKey>[1];
  const keys = await Promise.all([0, 1, 2].map(() => localKey(store, settings)));
  await seen;
  expect(readToken(texts[1]?.trim() ?? "")).toBeDefined();
  expect(new Set(keys.map(({ token }) => token))).toEqual(new Set([texts[1]?.trim()]));
  expect([readdirSync(dataDir), statSync(path).mode & 0o777]).toEqual([[`api-key.${namespace}`], 0o600]);
  writeFileSync(path, "");
  await expect(localKey(store, settings)).rejects.toMatchObject({ code: "local_key" });
  expect(readFileSync(path, "utf8")).toBe("");
});
