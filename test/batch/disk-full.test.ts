import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { TestSite } from "../support/site.ts";
import { testSystem } from "../support/system.ts";
import { waitFor } from "../support/wait-for.ts";

const mount = (...args: string[]) => execFileSync("mount", args, { stdio: "ignore" });

/** A folder on a disk of its own, of `size`; undefined where none can be mounted. */
function smallDisk(size: string): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "gluellm-disk-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  try {
    mount("-t", "tmpfs", "-o", `size=${size}`, "none", folder);
  } catch {
    return undefined;
  }
  onTestFinished(() => void execFileSync("umount", ["-l", folder]));
  return folder;
}

test("with a full disk under its Redis a batch says so, waits, and goes on when there is room", async (context) => {
  const folder = smallDisk("2m");
  if (!folder) return context.skip("a disk of its own can be mounted by root alone, on Linux");
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
  mount("-o", "remount,size=100m", folder);
  expect(await batch.exit).toBe(0);
  expect(site.countLines("out.jsonl")).toBe(400);
});
