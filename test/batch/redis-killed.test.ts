import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { stopEmbeddedRedis } from "../../src/embedded-redis/embedded-redis.ts";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { TestSite } from "../support/site.ts";
import { testSystem } from "../support/system.ts";
import { waitFor } from "../support/wait-for.ts";

const CONCURRENCY = 8;
const LATENCY_MS = 60;
/** Calls in flight, and one second of records that the append-only file may lose. */
const MAX_REPEATS = CONCURRENCY + (CONCURRENCY * 1000) / LATENCY_MS;

test("Redis killed in mid-run: it is started again, nothing is lost, repeats stay within one second of records", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open({ latencyMs: LATENCY_MS }, { GLUELLM_REDIS_URL: "" });
  const embedded = { dataDir: site.path(".gluellm"), system: testSystem() };
  site.write("in.jsonl", site.rows(400));
  const runner = site.start(...site.batch("--concurrency", String(CONCURRENCY)));
  await waitFor("50 answers", () => site.paidCalls().size > 50);

  const held = await holdEmbeddedRedis(embedded);
  const redis = new Redis({ path: held.socketPath, retryStrategy: () => null });
  redis.on("error", () => {});
  const pid = Number(/process_id:(\d+)/.exec(await redis.info("server"))?.[1]);
  redis.disconnect();
  held.release();
  process.kill(pid, "SIGKILL");

  expect(await runner.exit).toBe(0);
  expect(runner.stderr()).toContain("400 of 400 rows succeeded");
  expect(site.paidCalls().size).toBe(400);
  expect(site.read("out.jsonl")).toHaveLength(400);
  expect(site.repeatedCalls()).toBeLessThanOrEqual(MAX_REPEATS);
  await stopEmbeddedRedis(embedded);
});
