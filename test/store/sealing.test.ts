import { randomBytes } from "node:crypto";
import { afterAll, expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";
import { isSealed } from "../../src/store/envelope.ts";
import { type KeyWrapper, keyRingOf } from "../../src/store/key-ring.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { failureOf } from "../support/provider.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());
const [first, second] = ["first", "second"].map((id) => `${id}:${randomBytes(32).toString("base64")}`);

/** A process with these keys. */
function storeWith(
  namespace: string,
  keys: string,
  env: Record<string, string> = {},
  kms?: KeyWrapper,
): Store {
  const { encryption } = loadSettings({ env: { GLUELLM_ENCRYPTION_KEYS: keys, ...env }, cwd: "/" });
  return storeOf(redis, namespace, keyRingOf(encryption, kms));
}

test("what one process seals another one opens, at its own place alone", async () => {
  const namespace = testNamespace();
  const { sealing } = storeWith(namespace, `${first}`);
  const text = JSON.stringify({ says: "a secret ☂" });
  const sealed = await sealing.seal("kind", "id", text);
  expect(isSealed(sealed)).toBe(true);
  expect(sealed).not.toContain("secret");
  expect(await sealing.seal("kind", "id", text)).not.toBe(sealed);
  const other = storeWith(namespace, `${second},${first}`).sealing;
  expect(await other.open("kind", "id", sealed)).toBe(text);
  expect(await other.open("kind", "id", text)).toBe(text);
  const head = sealed.slice(0, -10);
  for (const [kind, id, changed] of [
    ["other", "id", sealed],
    ["kind", "other", sealed],
    ["kind", "id", `${head}AAAA${sealed.slice(-6)}`],
    ["kind", "id", head],
    ["kind", "id", "enc1.unknown.AAAA"],
  ] as const) {
    expect(await failureOf(other.open(kind, id, changed))).toMatchObject({ code: "corrupt_data" });
  }
});

test("many processes begin at once with the same keys", async () => {
  const namespace = testNamespace();
  const all = Array.from({ length: 8 }, () => storeWith(namespace, `${first}`).sealing);
  const sealed = await Promise.all(all.map((sealing, n) => sealing.seal("kind", String(n), `text ${n}`)));
  const digests = await Promise.all(all.map((sealing) => sealing.digest("of a text")));
  expect(new Set(digests).size).toBe(1);
  for (const [n, text] of sealed.entries())
    for (const sealing of all) expect(await sealing.open("kind", String(n), text)).toBe(`text ${n}`);
  const keys = Object.keys(await redis.hgetall(storeOf(redis, namespace).keys.encryptionKeys));
  expect(keys.map((name) => name.replace(/:.*/, "")).sort()).toEqual(["current", "digest", "key"]);
});

test("who lacks the key is told which one; another key under its id does not open it", async () => {
  const namespace = testNamespace();
  const sealed = await storeWith(namespace, `${first}`).sealing.seal("kind", "id", "text");
  for (const store of [storeOf(redis, namespace), storeWith(namespace, `${second}`)])
    expect(await failureOf(store.sealing.open("kind", "id", sealed))).toMatchObject({
      code: "encryption_key_missing",
      message: expect.stringContaining('"first"'),
    });
  const wrong = storeWith(namespace, `first:${randomBytes(32).toString("base64")}`).sealing;
  expect(await failureOf(wrong.open("kind", "id", sealed))).toMatchObject({ code: "encryption_key_missing" });
  expect(await failureOf(wrong.seal("kind", "id", "text"))).toMatchObject({ code: "encryption_key_missing" });
});

test("without keys, and while it only decrypts, a process writes what it did before", async () => {
  const namespace = testNamespace();
  const off = storeOf(redis, namespace).sealing;
  expect([await off.seal("kind", "id", "text"), await off.digest("d"), await off.keyedDigest("d")]).toEqual([
    "text",
    "d",
    undefined,
  ]);
  const reader = storeWith(namespace, `${first}`, { GLUELLM_ENCRYPTION_DECRYPT_ONLY: "true" }).sealing;
  expect([await reader.seal("kind", "id", "text"), await reader.digest("d")]).toEqual(["text", "d"]);
  expect(await reader.keyedDigest("d")).toBeUndefined();
  expect(await redis.exists(storeOf(redis, namespace).keys.encryptionKeys)).toBe(0);
  const writer = storeWith(namespace, `${first}`).sealing;
  const sealed = await writer.seal("kind", "id", "text");
  expect(await reader.open("kind", "id", sealed)).toBe("text");
  const digest = await writer.digest("d");
  expect(await reader.keyedDigest("d")).toBe(digest);
});

test("after a rotation the new key alone reads everything, digests stay, and a second one has nothing to do", async () => {
  const namespace = testNamespace();
  const old = storeWith(namespace, `${first}`).sealing;
  const sealed = await old.seal("kind", "id", "text");
  const digest = await old.digest("d");
  const both = storeWith(namespace, `${second},${first}`).sealing;
  const steps: number[] = [];
  expect(await both.rotate(({ done }) => steps.push(done))).toEqual({ rewrapped: 2, done: 2, total: 2 });
  expect(steps).toEqual([1, 2]);
  expect(await both.rotate(() => {})).toMatchObject({ rewrapped: 0 });
  const next = storeWith(namespace, `${second}`).sealing;
  expect(await next.open("kind", "id", sealed)).toBe("text");
  expect(await next.digest("d")).toBe(digest);
  expect(await old.open("kind", "id", await old.seal("kind", "id", "still at work"))).toBe("still at work");
});

test("a KMS wraps and unwraps data keys, with what they are for", async () => {
  const namespace = testNamespace();
  const asked: string[] = [];
  const kms: KeyWrapper = {
    id: "kms",
    wrap: async (key, about) => {
      asked.push(about);
      return Buffer.from(key.map((byte) => byte ^ 1)).toString("hex");
    },
    unwrap: async (text, about) => {
      asked.push(about);
      return Buffer.from(text, "hex").map((byte) => byte ^ 1);
    },
  };
  const { sealing } = storeWith(namespace, "", {}, kms);
  const sealed = await sealing.seal("kind", "id", "text");
  expect(await storeWith(namespace, "", {}, kms).sealing.open("kind", "id", sealed)).toBe("text");
  for (const about of asked) expect(about).toContain(`{gluellm:${namespace}}|data key|key:`);
});

test("lines of a file are read by every process of the namespace, also after a rotation, and by no other file", async () => {
  const namespace = testNamespace();
  const lines = await storeWith(namespace, `${first}`).sealing.lines("batch", "b1");
  const sealed = lines.seal("a secret ☂");
  expect([sealed.includes("secret"), sealed.includes("\n")]).toEqual([false, false]);
  const both = storeWith(namespace, `${second},${first}`).sealing;
  await both.rotate(() => {});
  for (const keys of [`${second},${first}`, `${second}`]) {
    const other = await storeWith(namespace, keys).sealing.lines("batch", "b1");
    expect([other.open(sealed), other.open("in clear")]).toEqual(["a secret ☂", "in clear"]);
  }
  const elsewhere = await both.lines("batch", "b2");
  expect(() => elsewhere.open(sealed)).toThrow("cannot be decrypted");
  const blind = await storeOf(redis, namespace).sealing.lines("batch", "b1");
  expect([blind.seal("text"), blind.open("in clear")]).toEqual(["text", "in clear"]);
  expect(() => blind.open(sealed)).toThrow('"second"');
  const masked = await both.maskedIds();
  const id = randomBytes(16);
  expect(masked.mask(id).equals(id)).toBe(false);
  const unmasking = await storeWith(namespace, `${second}`).sealing.maskedIds();
  expect(
    [masked.mask(id), masked.mask(randomBytes(16)), masked.mask(id)].map((one) => unmasking.unmask(one)),
  ).toEqual([id, expect.anything(), id]);
});

test("a key service that fails is told by what it said, and asked again", async () => {
  const namespace = testNamespace();
  let isDown = true;
  const answer = (bytes: string) => {
    if (isDown) throw new Error("throttled");
    return bytes;
  };
  const kms: KeyWrapper = {
    id: "kms",
    wrap: (key) => answer(Buffer.from(key).toString("hex")),
    unwrap: async (text) => Buffer.from(answer(text), "hex"),
  };
  const { sealing } = storeWith(namespace, "", {}, kms);
  expect(await failureOf(sealing.ready())).toMatchObject({
    code: "encryption_key_missing",
    message: expect.stringContaining("throttled"),
  });
  isDown = false;
  await sealing.ready();
  const sealed = await sealing.seal("kind", "id", "text");
  isDown = true;
  expect(await sealing.open("kind", "id", sealed)).toBe("text");
  expect(await failureOf(storeWith(namespace, "", {}, kms).sealing.open("kind", "id", sealed))).toMatchObject(
    {
      code: "encryption_key_missing",
    },
  );
});
