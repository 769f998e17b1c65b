import { randomBytes } from "node:crypto";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, describe, expect, inject, test } from "vitest";
import { filesOf } from "../../../src/batch/served/batch-host.ts";
import type { FileStore } from "../../../src/batch/served/file-store.ts";
import { objectId } from "../../../src/shared/object-id.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { keyRingOf } from "../../../src/store/key-ring.ts";
import { CHUNK_BYTES, HEAD_BYTES, SEALED_CHUNK_BYTES } from "../../../src/store/sealed-file.ts";
import { storeOf } from "../../../src/store/store.ts";
import { failureOf } from "../../support/provider.ts";
import { testNamespace, testRedis } from "../../support/redis.ts";
import { temporaryFolder } from "../../support/redis-folders.ts";
import { s3Env, startS3Server } from "../../support/s3-server.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());
const KEYS = `one:${randomBytes(32).toString("base64")}`;

/** A process's file store; `at` finds what is stored under an id. */
function storeWith(keys: string, more: Record<string, string> = {}, place = newPlace()) {
  const env = { GLUELLM_ENCRYPTION_KEYS: keys, GLUELLM_NAMESPACE: place.namespace, ...more };
  const settings = { ...loadSettings({ env, cwd: place.folder }), dataDir: place.folder };
  const files = filesOf(settings, storeOf(redis, place.namespace, keyRingOf(settings.encryption)));
  return { files, place, at: (id: string) => join(place.folder, "files", place.namespace, id) };
}
const newPlace = () => ({ folder: temporaryFolder(), namespace: testNamespace() });

async function keep(files: FileStore, bytes: Buffer): Promise<string> {
  const id = objectId("file-");
  const spooled = await files.spool(id, Readable.from(piecesOf(bytes), { objectMode: false }));
  await spooled.keep();
  expect(spooled.bytes).toBe(bytes.length);
  return id;
}
function* piecesOf(bytes: Buffer) {
  for (let from = 0; from < bytes.length; from += 50_000) yield bytes.subarray(from, from + 50_000);
}
const all = async (files: FileStore, id: string) => buffer(await files.read(id));

const SIZES = [0, 1, HEAD_BYTES, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 300_000];

describe("a file of the API with encryption on", () => {
  test.each([
    ["a folder", async () => storeWith(KEYS).files],
    ["a bucket", async () => storeWith(KEYS, s3Env(await startS3Server())).files],
  ])("in %s is read whole, in ranges and at any place", async (_, open) => {
    const files = await open();
    for (const size of SIZES) {
      const bytes = randomBytes(size);
      const id = await keep(files, bytes);
      expect((await all(files, id)).equals(bytes)).toBe(true);
      for (const start of [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, size - 1].filter((at) => at >= 0 && at < size))
        for (const end of [start, CHUNK_BYTES, size - 1].filter((at) => at >= start && at < size))
          expect(
            (await buffer(await files.read(id, { start, end }))).equals(bytes.subarray(start, end + 1)),
          ).toBe(true);
      const handle = await files.openLocal(id, (await files.localPath(id, temporaryFolder())) ?? "");
      expect((await handle.stat()).size).toBe(size);
      const target = Buffer.alloc(100_000);
      const from = Math.floor(size / 3);
      const { bytesRead } = await handle.read(target, 0, target.length, from);
      expect(target.subarray(0, bytesRead).equals(bytes.subarray(from, from + target.length))).toBe(true);
      await handle.close();
    }
  });

  test("has nothing of its text where it lies; changed, cut, moved or put together anew it does not open", async () => {
    const { files, at } = storeWith(KEYS);
    const text = Buffer.from("a canary in a coal mine\n".repeat(20_000));
    const [id, other] = [await keep(files, text), await keep(files, randomBytes(text.length))];
    const stored = readFileSync(at(id));
    expect(stored.includes("canary")).toBe(false);
    const chunk = (n: number) => {
      const from = HEAD_BYTES + n * SEALED_CHUNK_BYTES;
      return stored.subarray(from, from + SEALED_CHUNK_BYTES);
    };
    const changed = Buffer.from(stored);
    changed[HEAD_BYTES + 5] = (changed[HEAD_BYTES + 5] ?? 0) ^ 1;
    for (const [name, bytes] of [
      ["changed", changed],
      ["cut in a chunk", stored.subarray(0, -1)],
      ["cut after a chunk", stored.subarray(0, HEAD_BYTES + 2 * SEALED_CHUNK_BYTES)],
      ["of exchanged chunks", Buffer.concat([stored.subarray(0, HEAD_BYTES), chunk(1), chunk(0), chunk(2)])],
      ["of another file", readFileSync(at(other))],
    ] as const) {
      writeFileSync(at(id), bytes);
      expect([name, await failureOf(all(files, id))]).toMatchObject([name, { code: "corrupt_data" }]);
    }
    const end = text.length - 1;
    truncateSync(at(id), HEAD_BYTES + 2 * SEALED_CHUNK_BYTES);
    const range = files.read(id, { start: end, end }).then(buffer);
    expect(await failureOf(range)).toMatchObject({ code: "corrupt_data" });
  });

  test("from before is read as it is; without the key the fault says which one is missing", async () => {
    const before = storeWith("");
    const text = Buffer.from(`${"in clear\n".repeat(100)}`);
    const id = await keep(before.files, text);
    expect(readFileSync(before.at(id)).equals(text)).toBe(true);
    const { files } = storeWith(KEYS, {}, before.place);
    expect((await all(files, id)).equals(text)).toBe(true);
    expect((await buffer(await files.read(id, { start: 3, end: 7 }))).toString()).toBe("clear");
    const sealed = await keep(files, text);
    for (const path of [before.files.read(sealed), before.files.openLocal(sealed, before.at(sealed))])
      expect(await failureOf(path)).toMatchObject({
        code: "encryption_key_missing",
        message: expect.stringContaining('"one"'),
      });
    const next = `two:${randomBytes(32).toString("base64")}`;
    await storeOf(redis, before.place.namespace, ringOf(`${next},${KEYS}`)).sealing.rotate(() => {});
    expect((await all(storeWith(next, {}, before.place).files, sealed)).equals(text)).toBe(true);
  });

  test.runIf(inject("isFull"))("of 200 MB is never held in memory", async () => {
    const { files } = storeWith(KEYS);
    const piece = randomBytes(1024 * 1024);
    const sent = function* () {
      for (let n = 0; n < 200; n++) yield piece;
    };
    const id = objectId("file-");
    const before = process.memoryUsage().rss;
    let most = 0;
    const spooled = await files.spool(id, Readable.from(sent(), { objectMode: false, highWaterMark: 1 }));
    await spooled.keep();
    for await (const _ of await files.read(id)) most = Math.max(most, process.memoryUsage().rss - before);
    expect(most).toBeLessThan(100 * 1024 * 1024);
  });
});

function ringOf(keys: string) {
  return keyRingOf(loadSettings({ env: { GLUELLM_ENCRYPTION_KEYS: keys }, cwd: "/" }).encryption);
}
