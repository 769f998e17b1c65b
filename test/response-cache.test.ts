import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { holdEmbeddedRedis } from "../src/embedded-redis/hold.ts";
import type { EnqueueOptions, GlueLLM } from "../src/index.ts";
import { createLogger } from "../src/shared/logger.ts";
import { connectRedis } from "../src/shared/redis.ts";
import { redisKeys } from "../src/shared/redis-keys.ts";
import type { Simulator } from "../src/simulator/simulator.ts";
import { testRedis } from "./support/redis.ts";
import { redisOptions } from "./support/redis-folders.ts";
import { TestSite } from "./support/site.ts";
import { siteClient } from "./support/site-client.ts";
import { waitFor } from "./support/wait-for.ts";

const SAME: EnqueueOptions = { temperature: 0 };

let site: TestSite;
const redis = testRedis();

/** Two worker processes, shared by the tests that need nothing special of them. */
beforeAll(async () => {
  site = await TestSite.open();
  for (const _ of [1, 2]) site.start("worker", "--concurrency", "30");
});
afterAll(async () => {
  redis.disconnect();
  await site[Symbol.asyncDispose]();
});

function callsOf(simulator: Simulator, prompt: string): number {
  return simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(prompt)).length;
}

/** Asks one after the other; returns whether each answer came from the cache. */
async function ask(client: GlueLLM, prompt: string, ...options: EnqueueOptions[]): Promise<boolean[]> {
  const hits = [];
  for (const each of options) hits.push((await client.complete(prompt, each)).fromCache);
  return hits;
}

describe.concurrent("an answer in the cache", () => {
  test("costs no call, no tokens and nothing, and is the answer as it was", async () => {
    const client = siteClient(site);
    const first = await client.complete("same again", SAME);
    const second = await client.complete("same again", SAME);
    expect(callsOf(site.simulator, "same again")).toBe(1);
    expect(first.fromCache).toBe(false);
    expect(second).toMatchObject({
      fromCache: true,
      finalResponse: first.finalResponse,
      finishReason: "stop",
      requestId: first.requestId,
      rawResponse: first.rawResponse,
      costUsd: 0,
      latencyMs: 0,
      tokensUsed: { prompt: 0, completion: 0, total: 0, cached: 0 },
    });
    expect(second.rawResponse.usage?.total_tokens).toBe(first.tokensUsed.total);
    expect(second.jobId).not.toBe(first.jobId);
  });

  test("stands for no other question: every parameter, message and model counts", async () => {
    const client = siteClient(site);
    const other = await ask(
      client,
      "one question",
      SAME,
      { ...SAME, maxTokens: 50 },
      { ...SAME, seed: 1 },
      { ...SAME, system: "Be brief." },
      { ...SAME, model: "simulator:other" },
      { ...SAME, extra: { response_format: { type: "json_object" } } },
      { cache: true },
    );
    expect(other).toEqual([false, false, false, false, false, false, false]);
    expect(await ask(client, "one question", { ...SAME, seed: 1 })).toEqual([true]);
  });

  test("is used without being asked for only at temperature 0; cache: false opts out, both ways", async () => {
    const client = siteClient(site);
    expect(await ask(client, "default", {}, {})).toEqual([false, false]);
    expect(await ask(client, "warm", { temperature: 0.7 }, { temperature: 0.7 })).toEqual([false, false]);
    expect(await ask(client, "asked", { cache: true }, { cache: true }, {})).toEqual([false, true, false]);
    const without = { ...SAME, cache: false };
    expect(await ask(client, "out", without, SAME, without, SAME)).toEqual([false, false, false, true]);
  });

  test("may be the client's wish for all its calls", async () => {
    const client = siteClient(site, { cache: true });
    expect(await ask(client, "wished", {}, {}, { cache: false })).toEqual([false, true, false]);
  });

  test("ends with its time, and is too old for who wants a younger one", async () => {
    const client = siteClient(site);
    const brief = { cache: { ttlSeconds: 1 } };
    await client.complete("brief", brief);
    const { cached } = redisKeys(site.namespace);
    await waitFor("expiry", async () => (await ask(client, "brief", brief))[0] === false);
    await ask(client, "long", SAME);
    expect(await ask(client, "long", SAME)).toEqual([true]);
    await waitFor("old age", async () => (await ask(client, "long", { ...SAME, ...brief }))[0] === false);
    const ttls = await Promise.all((await redis.keys(cached("*"))).map((key) => redis.ttl(key)));
    expect(Math.max(...ttls)).toBeGreaterThan(3500);
    expect(Math.max(...ttls)).toBeLessThanOrEqual(3600);
  });

  test("that cannot be read counts as absent, and is replaced", async () => {
    await using own = await TestSite.open();
    own.start("worker");
    const client = siteClient(own);
    await client.complete("garbled", SAME);
    const [key = ""] = await redis.keys(redisKeys(own.namespace).cached("*"));
    for (const garbage of ["", "garbage", "1 {", `${Date.now()} {"body":1}`, "99999999999999999 x"]) {
      await redis.set(key, garbage);
      expect(await ask(client, "garbled", SAME, SAME)).toEqual([false, true]);
    }
    await redis.del(key);
    await redis.rpush(key, "a list");
    expect((await client.complete("garbled", SAME)).fromCache).toBe(false);
  });
});

describe.concurrent("equal requests at the same time", () => {
  test("50 jobs on two worker processes: one call, whose answer all have", async () => {
    const client = siteClient(site);
    const prompt = `crowd\n#sim {"latencyMs": 1500}`;
    const results = await Promise.all(Array.from({ length: 50 }, () => client.complete(prompt, SAME)));
    expect(callsOf(site.simulator, "crowd")).toBe(1);
    expect(results.filter(({ fromCache }) => fromCache)).toHaveLength(49);
    expect(new Set(results.map(({ finalResponse }) => finalResponse)).size).toBe(1);
    expect(new Set(results.map(({ attempts }) => attempts))).toEqual(new Set([1]));
  });

  test("a call that fails with 500 fails nobody else: another one calls", async () => {
    const client = siteClient(site);
    const prompt = `stumbles\n#sim {"latencyMs": 300, "error": "500", "errorTimes": 1}`;
    const results = await Promise.all(Array.from({ length: 10 }, () => client.complete(prompt, SAME)));
    expect(callsOf(site.simulator, "stumbles")).toBe(2);
    expect(results.filter(({ fromCache }) => fromCache)).toHaveLength(9);
  });

  test("a request that is refused is refused for each of them, without one waiting for the other", async () => {
    const client = siteClient(site);
    const prompt = `refused\n#sim {"latencyMs": 300, "error": "400"}`;
    const startedAt = performance.now();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => client.complete(prompt, { ...SAME, maxAttempts: 1 })),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(Array(20).fill("rejected"));
    // One after the other, the calls alone would take 6 s.
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  test("a cancelled call hands over at once", async () => {
    const client = siteClient(site);
    const prompt = `handed over\n#sim {"latencyMs": 2000}`;
    const leader = await client.enqueue(prompt, SAME);
    await waitFor("the call", () => callsOf(site.simulator, "handed over") === 1);
    const follower = await client.enqueue(prompt, SAME);
    await waitFor("the follower", async () => (await follower.status()).state !== "waiting");
    expect(await leader.cancel()).toBe(true);
    expect((await follower.result()).fromCache).toBe(false);
    expect(callsOf(site.simulator, "handed over")).toBe(2);
  });

  test("a killed worker's call is taken over, and a job that waits says for what", async () => {
    await using own = await TestSite.open();
    const doomed = own.start("worker");
    const client = siteClient(own);
    const prompt = `killed\n#sim {"latencyMs": 3000}`;
    await client.enqueue(prompt, SAME);
    await waitFor("the call", () => callsOf(own.simulator, "killed") === 1);
    own.start("worker");
    // Several, since the killed worker may have one of them in its hands.
    const followers = await Promise.all(Array.from({ length: 6 }, () => client.enqueue(prompt, SAME)));
    const [follower] = followers;
    await waitFor("the reason", async () => /cache_wait/.test(String((await follower?.status())?.waitsFor)));
    doomed.child.kill("SIGKILL");
    await waitFor("the second call", () => callsOf(own.simulator, "killed") === 2);
    const results = await Promise.all(followers.map((handle) => handle.result()));
    expect(results.filter(({ fromCache }) => fromCache).length).toBeGreaterThanOrEqual(5);
    expect(callsOf(own.simulator, "killed")).toBe(2);
  }, 60_000);

  test("no job waits past its deadline for another one", async () => {
    const client = siteClient(site);
    const prompt = `impatient\n#sim {"latencyMs": 4000}`;
    const leader = client.complete(prompt, SAME);
    await waitFor("the call", () => callsOf(site.simulator, "impatient") === 1);
    const result = await client.complete(prompt, { ...SAME, deadlineMs: 1900 });
    expect(result.fromCache).toBe(false);
    expect((await leader).fromCache).toBe(false);
  });
});

describe.concurrent("the cache's size", () => {
  test("the least recently used answers go first, and their sum stays below the limit", async () => {
    await using own = await TestSite.open({}, { CACHE_SIZE_LIMIT: "20000" });
    own.start("worker");
    const client = siteClient(own);
    const text = "x".repeat(2000);
    const reply = (n: number) => `number ${n}\n#sim ${JSON.stringify({ reply: text })}`;
    for (let n = 0; n < 20; n++) {
      await client.complete(reply(n), SAME);
      // Used again and again, it stays.
      expect(await ask(client, reply(0), SAME)).toEqual([true]);
    }
    const { cached, cacheSizes, cacheUses } = redisKeys(own.namespace);
    const entries = await redis.keys(cached("*"));
    expect(entries.length).toBeGreaterThan(3);
    const { total, ...sizes } = await redis.hgetall(cacheSizes);
    expect(Number(total)).toBeLessThanOrEqual(20_000);
    expect(Object.values(sizes).reduce((sum, size) => sum + Number(size), 0)).toBe(Number(total));
    expect(Object.keys(sizes)).toHaveLength(entries.length);
    expect(await redis.zcard(cacheUses)).toBe(entries.length);
    const memory = await Promise.all(entries.map((key) => redis.memory("USAGE", key)));
    expect(memory.reduce<number>((sum, bytes) => sum + Number(bytes), 0)).toBeLessThan(Number(total));
    expect(await ask(client, reply(1), SAME)).toEqual([false]);
    // One that is larger than all the room there is.
    const huge = `huge\n#sim ${JSON.stringify({ reply: "y".repeat(30_000) })}`;
    expect(await ask(client, huge, SAME, SAME)).toEqual([false, false]);
  });

  test("switched off, nothing is kept", async () => {
    await using own = await TestSite.open({}, { GLUELLM_CACHE_ENABLED: "false" });
    own.start("worker");
    expect(await ask(siteClient(own), "off", SAME, { cache: true })).toEqual([false, false]);
    expect(await redis.keys(`${redisKeys(own.namespace).prefix}:cache*`)).toEqual([]);
  });

  test("Redis without memory: the call succeeds all the same", async () => {
    const held = await holdEmbeddedRedis(redisOptions());
    onTestFinished(() => held.release());
    const full = connectRedis({ socketPath: held.socketPath }, createLogger({ level: "silent", json: true }));
    onTestFinished(() => full.disconnect());
    await using own = await TestSite.open({}, { GLUELLM_REDIS_URL: `unix://${held.socketPath}` });
    own.start("worker");
    const client = siteClient(own);
    const prompt = `full\n#sim {"latencyMs": 500}`;
    const answer = client.complete(prompt, SAME);
    await waitFor("the call", () => own.simulator.stats().inFlight === 1);
    await full.config("SET", "maxmemory", "1");
    await waitFor("the call's end", () => own.simulator.stats().inFlight === 0);
    await waitFor("a refusal", async () => /errorstat_OOM:count=/.test(await full.info("errorstats")));
    await full.config("SET", "maxmemory", "0");
    expect((await answer).fromCache).toBe(false);
    expect(await ask(client, prompt, SAME, SAME)).toEqual([false, true]);
  });
});

describe.concurrent("a batch", () => {
  test("of which 70 % repeat: 30 % of the calls, and the report says so, also when it goes on later", async () => {
    const prices = { "simulator:test": { inputPerMillion: 1000, outputPerMillion: 4000 } };
    await using own = await TestSite.open({ latencyMs: 20 }, { GLUELLM_PRICES: JSON.stringify(prices) });
    const rows = own.rows(300, (n) => `question ${n % 90}`).map((row) => ({ ...row, temperature: 0 }));
    own.write("in.jsonl", rows);
    const run = own.start(...own.batch());
    await waitFor("some rows", () => own.paidCalls().size >= 20);
    run.child.kill("SIGINT");
    await run.exit;
    const last = await own.run(...own.batch("--report", "report.json"));
    expect(last.stderr).toContain("210 rows answered from the cache");
    expect(last.code).toBe(0);
    const calls = own.simulator.journal.entries();
    // B33: at least 69 % fewer calls.
    expect(calls.length).toBe(90);
    const report = JSON.parse(readFileSync(own.path("report.json"), "utf8"));
    expect(report).toMatchObject({ succeeded: 300, cacheHits: 210 });
    expect(report.tokens.total).toBe(
      calls.reduce((sum, { promptTokens, completionTokens }) => sum + promptTokens + completionTokens, 0),
    );
    const again = await own.run(...own.batch("--report", "report.json"));
    expect(again.stderr).toContain("no provider call");
    expect(JSON.parse(readFileSync(own.path("report.json"), "utf8"))).toMatchObject({
      cacheHits: 210,
      tokens: report.tokens,
      costUsd: report.costUsd,
    });
  }, 60_000);

  test("takes --cache and --no-cache for all rows; they make no row another one", async () => {
    await using own = await TestSite.open();
    own.write(
      "in.jsonl",
      own.rows(8, () => "exact").map((row) => ({ ...row, temperature: 0 })),
    );
    expect((await own.run(...own.batch("--no-cache"))).code).toBe(0);
    expect(callsOf(own.simulator, "exact")).toBe(8);
    expect((await own.run(...own.batch())).stderr).toContain("no provider call");
    own.write(
      "samples.jsonl",
      own.rows(8, () => "sample"),
    );
    const samples = ["batch", "run", "samples.jsonl", "-o", "samples.out.jsonl", "-m", "simulator:test"];
    expect((await own.run(...samples, "--cache")).code).toBe(0);
    expect(callsOf(own.simulator, "sample")).toBe(1);
  });
});

test("gluellm complete --cache asks once", async () => {
  const ids = [];
  for (const option of ["--cache", "--cache"]) {
    const run = await site.run(
      "complete",
      "from the shell",
      "-m",
      "simulator:test",
      "--json",
      "--workers",
      "0",
      option,
    );
    ids.push(JSON.parse(run.stdout).fromCache);
  }
  expect(ids).toEqual([false, true]);
});
