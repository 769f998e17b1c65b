import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ensureEmbeddedRedis } from "../../../src/embedded-redis/embedded-redis.ts";
import { TestSite } from "../site.ts";
import { mountDisk } from "../small-disk.ts";
import { testSystem } from "../system.ts";

/** Run by `reaper.test.ts`: a test that ends nothing of what it starts, and fails or hangs. */
test("leaves a worker, a Redis, a stranger and a disk", async () => {
  const site = await TestSite.open();
  site.start("worker");
  const dataDir = join(mkdtempSync(join(tmpdir(), "left-")), "data");
  await ensureEmbeddedRedis({ dataDir, system: testSystem(), idleShutdownMs: 3_600_000 });
  mountDisk(mkdtempSync(join(tmpdir(), "disk-")), "1m");
  const stranger = ["-e", "setInterval(() => {}, 1000)"];
  spawn(process.execPath, stranger, { detached: true, stdio: "ignore" }).unref();
  console.log("all are started");
  if (process.env.LEFT_BEHIND_HANGS) await new Promise(() => {});
  expect("what is left").toBe("nothing");
});
