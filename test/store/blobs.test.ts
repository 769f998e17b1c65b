import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inlineOrBlob, isBlobRef, readBlob, releaseBlob } from "../../src/store/blobs.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { failureOf } from "../support/provider.ts";
import { testRedis } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const DAY_SECONDS = 86_400;
const redis = testRedis();
let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open();
  site.start("worker");
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
  redis.disconnect();
});

test("a blob lives as long as the owner who needs it longest, and goes with the last one", async () => {
  const keys = redisKeys(site.namespace);
  const value = { text: randomUUID().repeat(1000) };
  const store = (owner: string, days: number) =>
    inlineOrBlob(plainStore(redis, keys), owner, value, days * DAY_SECONDS).then((ref) => {
      if (!isBlobRef(ref)) throw new Error("it lies inline");
      return ref;
    });
  const ref = await store("a", 7);
  const daysLeft = async () => Math.round((await redis.ttl(keys.blob(ref.blob))) / DAY_SECONDS);
  expect(await daysLeft()).toBe(7);
  await store("b", 32);
  expect(await daysLeft()).toBe(32);
  await store("c", 7);
  expect(await daysLeft()).toBe(32);
  for (const owner of ["a", "b"]) await releaseBlob(plainStore(redis, keys), ref, owner);
  expect(await readBlob(plainStore(redis, keys), ref)).toEqual(value);
  await releaseBlob(plainStore(redis, keys), ref, "c");
  expect(await redis.exists(keys.blob(ref.blob))).toBe(0);
});

test("a job that is cancelled while a worker has it leaves no blob of its request", async () => {
  const glue = siteClient(site);
  const handle = await glue.enqueue(`${"long ".repeat(5000)}\n#sim {"latencyMs": 30000}`);
  await waitFor("the call", () => site.simulator.journal.entries().length === 1);
  const failure = failureOf(handle.result());
  expect(await handle.cancel()).toBe(true);
  expect(await failure).toMatchObject({ code: "cancelled" });
  expect(await redis.keys(redisKeys(site.namespace).blob("*"))).toEqual([]);
});

test("a large result's blob ends with its record", async () => {
  const keys = redisKeys(site.namespace);
  const { jobId } = await siteClient(site).complete(
    `much\n#sim ${JSON.stringify({ reply: "much ".repeat(5000) })}`,
  );
  const owner = `owner:result:${jobId}`;
  const blobs = await redis.keys(keys.blob("*"));
  const owned = await Promise.all(blobs.map((key) => redis.hexists(key, owner)));
  const blob = blobs.find((_, i) => owned[i] === 1);
  const [recordLeft, blobLeft] = [await redis.ttl(keys.result(jobId)), await redis.ttl(blob ?? "")];
  expect(recordLeft).toBeGreaterThan(0);
  expect(blobLeft).toBeGreaterThanOrEqual(recordLeft);
  expect(blobLeft).toBeLessThan(recordLeft + DAY_SECONDS);
});
