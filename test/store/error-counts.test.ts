import { expect, test } from "vitest";
import { HIDDEN } from "../../src/shared/encryption-setting.ts";
import { countFailure, readEndCounts } from "../../src/store/error-counts.ts";
import { clockOf } from "../../src/store/redis-clock.ts";
import { isEncrypted, testNamespace, testStore } from "../support/redis.ts";

const HOUR_MS = 3_600_000;
const RETENTION = { errorsMs: HOUR_MS };

function failed(store: ReturnType<typeof testStore>, code: string, tenant = "default") {
  const place = { model: "openai:gpt-4o", queue: "completions.openai.gpt-4o", tenant };
  return countFailure(store, "end", place, RETENTION, {
    code,
    example: { id: "job-1", message: `of ${code}` },
  });
}

test("any number of tenants and codes takes a bounded place, expires, and loses no count", async () => {
  const store = testStore(testNamespace());
  const tenants = Array.from({ length: 900 }, (_, n) => failed(store, "invalid_request", `tenant-${n}`));
  const codes = Array.from({ length: 400 }, (_, n) => failed(store, `code_${n}`));
  await Promise.all([...tenants, ...codes, failed(store, "a\tcode\nof two lines")]);
  const hour = Math.floor(clockOf(store).now() / HOUR_MS);
  const [key = ""] = (await store.redis.keys(`${store.keys.prefix}:errors:*`)).filter((name) =>
    name.endsWith(String(hour)),
  );
  expect(await store.redis.hlen(key)).toBeLessThan(1210);
  expect(await store.redis.ttl(key)).toBeGreaterThan(3000);

  const { counts } = await readEndCounts(store, hour * HOUR_MS, hour * HOUR_MS);
  expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(1301);
  expect(counts.some(({ tenant }) => tenant === "*")).toBe(true);
});

test("a damaged hour hides no other, and fails nobody's job", async () => {
  const store = testStore(testNamespace());
  const now = clockOf(store).now();
  await failed(store, "timeout");
  await store.redis.set(store.keys.errorCounts(Math.floor(now / HOUR_MS) - 1), "not a hash");
  const { counts, examples } = await readEndCounts(store, now - HOUR_MS, now + 1000);
  expect(counts).toMatchObject([{ code: "timeout", model: "openai:gpt-4o", tenant: "default", count: 1 }]);
  expect(examples).toMatchObject([
    { id: "job-1", message: isEncrypted ? HIDDEN : "of timeout", code: "timeout", tenant: "default" },
  ]);
});
