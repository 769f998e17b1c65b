import { randomBytes } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { openKeyRing } from "../../src/host/key-ring.ts";
import { GlueLLM } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { readRecord } from "../../src/store/result-record.ts";
import { storeOf } from "../../src/store/store.ts";
import { testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* Keys that a service holds, asked by a module: whole processes. */

const MODULE = fileURLToPath(new URL("../support/file-kms.ts", import.meta.url));

test("a key service wraps the data keys; while it fails jobs wait, unpaid; one moves to it from keys by a rotation", {
  tags: "long",
}, async () => {
  const old = `old:${randomBytes(32).toString("base64")}`;
  const site = await TestSite.open({}, { GLUELLM_ENCRYPTION_KEYS: "" });
  onTestFinished(() => site[Symbol.asyncDispose]());
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const keyFile = site.path("kms-key");
  writeFileSync(keyFile, randomBytes(32));
  const withKeys = { GLUELLM_ENCRYPTION_KEYS: old };
  const withModule = { GLUELLM_ENCRYPTION_MODULE: MODULE, KMS_KEY_FILE: keyFile };
  const both = { ...withModule, ...withKeys };
  const run = async (env: Record<string, string>, ...args: string[]) => {
    const { exit, stdout, stderr } = site.startWith(env, ...args);
    return { code: await exit, stdout: stdout(), stderr: stderr() };
  };
  const ask = (env: Record<string, string>, prompt: string) =>
    run(env, "complete", prompt, "-m", MODEL, "--workers", "0");

  const settings = loadSettings({ env: { ...site.env, ...withKeys }, cwd: "/" });
  const caller = new GlueLLM({ mode: "fleet", settings, model: MODEL });
  onTestFinished(() => caller.close());
  const { id: jobId } = await caller.enqueue("of before");
  writeFileSync(`${keyFile}.down`, "");
  const worker = site.startWith(both, "worker");
  await waitFor("the worker to say so", () => /the key service is down/.test(worker.stderr()));
  expect(site.paidCalls().get("of before")).toBeUndefined();
  rmSync(`${keyFile}.down`);
  await waitFor("the call", () => site.paidCalls().get("of before") === 1);
  expect(await ask(both, "of a fleet in transition")).toMatchObject({ code: 0 });
  expect(await run(both, "keys", "rotate-encryption")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/data keys were wrapped anew/),
  });
  expect(await ask(withModule, "of a fleet without keys")).toMatchObject({ code: 0 });
  process.env.KMS_KEY_FILE = keyFile;
  onTestFinished(() => void delete process.env.KMS_KEY_FILE);
  const moduleAlone = loadSettings({ env: { ...site.env, ...withModule }, cwd: "/" });
  const store = storeOf(redis, site.namespace, await openKeyRing(moduleAlone.encryption));
  await waitFor("the record", async () => (await readRecord(store, jobId))?.status === "succeeded");
  const wrapped = Object.entries(await redis.hgetall(redisKeys(site.namespace).encryptionKeys)).filter(
    ([name]) => !name.startsWith("current:"),
  );
  for (const [, text] of wrapped) expect(JSON.parse(text)).toMatchObject({ ring: "file-kms" });
  const asked = readFileSync(`${keyFile}.log`, "utf8");
  // A process asks once for each data key, however many values it reads.
  expect(asked.split("\n").length).toBeLessThan(30);
  for (const line of asked.trimEnd().split("\n"))
    expect(line).toMatch(/^(un)?wrap \{gluellm:[\w-]+\}\|data key\|(key:\w+|digest)$/);
});
