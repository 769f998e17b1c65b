import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { TestSite } from "../support/site.ts";
import { mountDisk } from "../support/small-disk.ts";
import { testSystem } from "../support/system.ts";
import { waitFor } from "../support/wait-for.ts";

test("with a full disk under its Redis a batch says so, waits, and goes on when there is room", {
  tags: "long",
}, async (context) => {
  const folder = temporaryFolder();
  const disk = mountDisk(folder, "2m");
  if (!disk) return context.skip("a disk of its own can be mounted by root alone, on Linux");
  const dataDir = join(folder, "data");
  const site = await TestSite.open({}, { GLUELLM_REDIS_URL: "", GLUELLM_DATA_DIR: dataDir });
  onTestFinished(async () => {
    await site[Symbol.asyncDispose]();
    await stopEmbeddedRedis({ dataDir, system: testSystem() });
  });
  site.write(
    "in.jsonl",
    site.rows(400, (n) => `question ${n} ${"x".repeat(3000)}`),
  );
  const batch = site.start(...site.batch());
  await waitFor("its word", () => /make room on the disk that Redis writes to/.test(batch.stderr()));
  disk.resize("100m");
  expect(await batch.exit).toBe(0);
  expect(site.countLines("out.jsonl")).toBe(400);
});
