import { expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";

const key = (bytes = 32) => Buffer.alloc(bytes, 9).toString("base64");
const settingsOf = (env: Record<string, string>) => loadSettings({ env, cwd: "/" }).encryption;

test("keys are read in their order, and no text of the settings says them", () => {
  const encryption = settingsOf({ GLUELLM_ENCRYPTION_KEYS: `new:${key()}, old:${key()}` });
  expect(encryption.keys.map(({ id }) => id)).toEqual(["new", "old"]);
  expect(encryption.keys[0]?.key.reveal()).toBe(key());
  expect(JSON.stringify(encryption)).not.toContain(key());
  expect(settingsOf({})).toEqual({ keys: [], module: undefined, decryptOnly: false });
});

test.each([
  [`a:${key(31)}`, /key "a" has 31 bytes and must have 32/],
  [`a:${key()},b:${key(33)}`, /key "b" has 33 bytes/],
  [`a:${key()},a:${key()}`, /two keys have the id "a"/],
  [key(), /key 1 has no id/],
  [`a:${key()},:${key()}`, /key 2 has no id/],
  ["a:not base64!", /key "a" is not base64/],
  ["a:", /key "a" is not base64/],
])("bad keys are one clear error that says no key: %#", (keys, fault) => {
  const load = () => settingsOf({ GLUELLM_ENCRYPTION_KEYS: keys });
  expect(load).toThrow(/^1 setting is wrong:\n {2}GLUELLM_ENCRYPTION_KEYS: /);
  expect(load).toThrow(fault);
  expect(load).not.toThrow(key().slice(0, 12));
});

test("decrypting alone needs a key", () => {
  expect(() => settingsOf({ GLUELLM_ENCRYPTION_DECRYPT_ONLY: "true" })).toThrow(
    /GLUELLM_ENCRYPTION_DECRYPT_ONLY: needs GLUELLM_ENCRYPTION_KEYS or GLUELLM_ENCRYPTION_MODULE/,
  );
});
