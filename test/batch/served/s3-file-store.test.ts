import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { afterAll, describe, expect, test } from "vitest";
import { filesOf } from "../../../src/batch/served/batch-host.ts";
import { objectId } from "../../../src/shared/object-id.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { redisKeys } from "../../../src/store/redis-keys.ts";
import { plainStore } from "../../../src/store/store.ts";
import { testRedis } from "../../support/redis.ts";
import { temporaryFolder } from "../../support/redis-folders.ts";
import { type S3Server, s3Env, startS3Server } from "../../support/s3-server.ts";

/* The file store of a bucket, by AWS's SDK against a server of our own that speaks S3. */

const redis = testRedis();
afterAll(() => redis.disconnect());

function storeAt(server: S3Server, more: Record<string, string> = {}) {
  const env = { ...s3Env(server), GLUELLM_NAMESPACE: "space", ...more };
  return filesOf(loadSettings({ env, cwd: temporaryFolder() }), plainStore(redis, redisKeys("space")));
}
const text = (source: Readable) => buffer(source).then(String);

describe("a file in a bucket", () => {
  test("is seen when it is whole, read in ranges, copied, replaced and deleted", async () => {
    const server = await startS3Server();
    const files = storeAt(server);
    const id = objectId("file-");
    const spooled = await files.spool(id, Readable.from([Buffer.from("some "), Buffer.from("bytes")]));
    expect(spooled).toMatchObject({ bytes: 10, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    await expect(files.read(id)).rejects.toMatchObject({ code: "file_lost" });
    await spooled.keep();
    await spooled.discard();
    expect([...server.objects.keys()]).toEqual([`some/prefix/space/files/${id}`]);
    expect(await text(await files.read(id))).toBe("some bytes");
    expect(await text(await files.read(id, { start: 5, end: 7 }))).toBe("byt");
    const folder = temporaryFolder();
    const path = (await files.localPath(id, folder)) ?? "";
    expect(readFileSync(path, "utf8")).toBe("some bytes");
    const gets = server.requests.length;
    expect(await files.localPath(id, folder)).toBe(path);
    expect([server.requests.length, readdirSync(folder)]).toEqual([gets, [id]]);
    const empty = await files.spool(id, Readable.from([]));
    await empty.keep();
    expect(await text(await files.read(id))).toBe("");
    await files.delete(id);
    await files.delete(id);
    expect(await files.localPath(id, temporaryFolder())).toBeUndefined();
  });

  test("that is large goes in parts; one that breaks off leaves nothing", async () => {
    const server = await startS3Server();
    const files = storeAt(server);
    const [id, other, third] = [objectId("file-"), objectId("file-"), objectId("file-")];
    const bytes = randomBytes(18 * 1024 * 1024);
    const chunks = function* () {
      for (let i = 0; i < bytes.length; i += 60_000) yield bytes.subarray(i, i + 60_000);
    };
    const spooled = await files.spool(id, Readable.from(chunks()));
    expect([server.uploads.size, server.objects.size]).toEqual([1, 0]);
    await spooled.keep();
    expect(server.uploads.size).toBe(0);
    expect((await buffer(await files.read(id))).equals(bytes)).toBe(true);
    const breaking = function* () {
      yield bytes.subarray(0, 9 * 1024 * 1024);
      throw new Error("the client went away");
    };
    await expect(files.spool(other, Readable.from(breaking()))).rejects.toThrow("went away");
    const unwanted = await files.spool(third, Readable.from([bytes]));
    await unwanted.discard();
    expect([server.uploads.size, server.objects.size]).toEqual([0, 1]);
    // A process died while it uploaded.
    await files.spool(other, Readable.from([bytes]));
    expect(await files.storedBefore(Date.now() - 60_000)).toEqual([]);
    expect([await files.storedBefore(Date.now() + 60_000), server.uploads.size]).toEqual([[id], 0]);
  });

  test("of a store that fails now and then is there all the same; what a copy broke off at is no copy", async () => {
    const server = await startS3Server();
    const files = storeAt(server);
    const id = objectId("file-");
    server.faults.push({ method: "PUT", path: /./, times: 2, status: 503 });
    server.faults.push({ method: "GET", path: /./, times: 1, delayMs: 300, status: 500 });
    await (await files.spool(id, Readable.from([Buffer.from("x".repeat(100_000))]))).keep();
    expect((await text(await files.read(id))).length).toBe(100_000);
    server.faults.push({ method: "GET", path: /./, times: 1, cutAt: 50_000 });
    const folder = temporaryFolder();
    await expect(files.localPath(id, folder)).rejects.toThrow();
    expect(readdirSync(folder)).toEqual([]);
    expect(await files.localPath(id, folder)).toBeDefined();
  });

  test("of a store that refuses says what to check, and no key", async () => {
    const server = await startS3Server();
    const id = objectId("file-");
    const refused = storeAt(server, { GLUELLM_FILE_STORE_ACCESS_KEY_ID: "another" }).read(id);
    await expect(refused).rejects.toMatchObject({
      code: "file_store_failed",
      category: "configuration",
      message: "the file store s3://bucket/some/prefix/ failed: AccessDenied (403)",
    });
    await expect(storeAt(server, { GLUELLM_FILE_STORE: "s3://nowhere" }).read(id)).rejects.toThrow(
      "NoSuchBucket",
    );
    for (const name of ["../x", "file-..", ""]) {
      await expect(storeAt(server).read(name)).rejects.toMatchObject({ code: "file_lost" });
      await storeAt(server).delete(name);
    }
    expect(server.requests).toHaveLength(2);
  });

  test("has the lines of a batch's work in groups, more than a page of them", async () => {
    const { work } = storeAt(await startS3Server());
    for (let n = 0; n < 8; n++) await work?.append("batch_a", [`${n}`, `${n}!`]);
    await work?.append("batch_b", ["other"]);
    const restored = async (id: string) =>
      Buffer.concat(await Array.fromAsync(work?.restore(id) ?? [])).toString();
    const lines = (await restored("batch_a")).trimEnd().split("\n");
    expect(lines.sort()).toEqual(Array.from({ length: 8 }, (_, n) => [`${n}`, `${n}!`]).flat());
    expect(await work?.begunBefore(Date.now() + 1000)).toEqual(["batch_a", "batch_b"]);
    await work?.forget("batch_a");
    expect([await restored("batch_a"), await restored("batch_b")]).toEqual(["", "other\n"]);
  });
});

test.each([
  ["GLUELLM_FILE_STORE", "https://bucket", "must be s3://bucket"],
  ["GLUELLM_FILE_STORE", "s3://UPPER/x", "must be s3://bucket"],
  ["GLUELLM_FILE_STORE", "s3://bucket/a b", "must be s3://bucket"],
  ["GLUELLM_FILE_STORE_ENDPOINT", "minio:9000", "must start with http://"],
])("%s=%s is refused", (name, value, message) => {
  expect(() => loadSettings({ env: { [name]: value } })).toThrow(message);
});
