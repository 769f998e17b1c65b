import { randomUUID } from "node:crypto";
import { createReadStream, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { filesOf } from "../../../src/batch/served/batch-host.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { testStore } from "../../support/redis.ts";

function opened() {
  const dataDir = mkdtempSync(join(tmpdir(), "gluellm-files-"));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const settings = { ...loadSettings({ env: {}, cwd: "/" }), dataDir, namespace: "test" };
  return { dataDir, files: filesOf(settings, testStore("test")) };
}

test.each([
  ["is not there (any more)", () => createReadStream("/nowhere/out.errors.jsonl"), "ENOENT"],
  ["is a folder", () => createReadStream(tmpdir()), "EISDIR"],
  ["fails at once", () => new Readable({ read() {} }).destroy(new Error("gone")), undefined],
])(
  "a source that %s is told to who stores it, ends no process and leaves nothing",
  async (_, source, code) => {
    const { dataDir, files } = opened();
    const failure = await files.spool(`file-${randomUUID()}`, source()).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    if (code) expect(failure).toMatchObject({ code });
    expect(readdirSync(join(dataDir, "files", "test"))).toEqual([]);
  },
);
