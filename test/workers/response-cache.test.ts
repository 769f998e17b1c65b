import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { cacheFunctionResult, defineTool, type EnqueueOptions, type GlueLLM } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import type { Simulator } from "../../src/simulator/simulator.ts";
import { connectRedis } from "../../src/store/redis.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { oddSite } from "../support/odd-provider.ts";
import { testRedis } from "../support/redis.ts";
import { redisOptions } from "../support/redis-folders.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

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
    await using client = openClient(site);
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
    await using client = openClient(site);
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
    await using client = openClient(site);
    expect(await ask(client, "default", {}, {})).toEqual([false, false]);
    expect(await ask(client, "warm", { temperature: 0.7 }, { temperature: 0.7 })).toEqual([false, false]);
    expect(await ask(client, "asked", { cache: true }, { cache: true }, {})).toEqual([false, true, false]);
    const without = { ...SAME, cache: false };
    expect(await ask(client, "out", without, SAME, without, SAME)).toEqual([false, false, false, true]);
  });

  test("may be the client's wish for all its calls", async () => {
    await using client = openClient(site, { cache: true });
    expect(await ask(client, "wished", {}, {}, { cache: false })).toEqual([false, true, false]);
  });

  test("ends with its time, and is too old for who wants a younger one", async () => {
    await using client = openClient(site);
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
    await using client = openClient(own);
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

test.concurrent("a job with tools takes each of its calls from the cache, runs its tools, and leaves no journal", async () => {
  await using own = await TestSite.open();
  let runs = 0;
  const now = defineTool({
    name: "now",
    description: "The time.",
    parameters: z.object({}),
    execute: async () => `noon ${++runs > 0}`,
  });
  await using client = openClient(own, { mode: "local", tools: [now] });
  const prompt = `what time\n#sim {"callTools": true}`;
  const first = await client.complete(prompt, SAME);
  const second = await client.complete(prompt, SAME);
  expect(first).toMatchObject({ fromCache: false, toolCallsMade: 1 });
  expect(second).toMatchObject({ fromCache: true, toolCallsMade: 1, finalResponse: first.finalResponse });
  expect(runs).toBe(2);
  expect(own.simulator.journal.entries()).toHaveLength(2);
  expect(await redis.keys(redisKeys(own.namespace).journal("*"))).toEqual([]);
});

describe.concurrent("cacheFunctionResult", () => {
  const options = (name: string) => ({ redis, name, namespace: site.namespace });

  test("runs equal calls once, at the same time and later, in whatever process", async () => {
    let runs = 0;
    const square = async ({ n }: { n: number }) => {
      runs += 1;
      await delay(100);
      return { square: n * n };
    };
    const [here, there] = [1, 2].map(() => cacheFunctionResult(square, options("square")));
    const calls = [here!({ n: 3 }), there!({ n: 3 }), here!({ n: 3 }), there!({ n: 4 })];
    expect(await Promise.all(calls)).toEqual([9, 9, 9, 16].map((square) => ({ square })));
    expect(await there!({ n: 3 })).toEqual({ square: 9 });
    expect(runs).toBe(2);
    expect(await cacheFunctionResult(square, options("other"))({ n: 3 })).toEqual({ square: 9 });
    expect(runs).toBe(3);
  });

  test("calls of arguments that JSON cannot tell apart do not share a result", async () => {
    class Point {
      readonly x: number;
      constructor(x: number) {
        this.x = x;
      }
    }
    let runs = 0;
    const count = cacheFunctionResult(async (..._args: unknown[]) => ++runs, options("arguments"));
    const alike: unknown[][] = [
      ...[new Map([["a", 1]]), new Map([["b", 1]]), new Set([1]), new Point(1), {}].map((arg) => [arg]),
      ...[Number.NaN, null, undefined, 1n, "1", new Date(0), new Date(0).toISOString()].map((arg) => [arg]),
      ...[[{ list: [undefined] }], [{ list: [null] }], [undefined, 1], [null, 1], [[0]], [[-0]]],
    ];
    const results = await alike.reduce<Promise<number[]>>(
      async (all, args) => [...(await all), await count(...args)],
      Promise.resolve([]),
    );
    expect(new Set(results).size).toBe(alike.length);
    expect(await count(null), "those that survive JSON are kept").toBe(results[6]);
    expect(await count({ left: undefined }), "an undefined field is none").toBe(results[4]);
  });

  test("a key decides what the result hangs on, whatever the arguments are", async () => {
    let runs = 0;
    const keyed = { ...options("keyed"), key: (map: Map<string, number>) => [...map] };
    const size = cacheFunctionResult(async (map: Map<string, number>) => [++runs, map.size], keyed);
    const maps = [new Map([["a", 1]]), new Map([["a", 1]]), new Map([["b", 1]])];
    expect([await size(maps[0]!), await size(maps[1]!), await size(maps[2]!)]).toEqual([
      [1, 1],
      [1, 1],
      [2, 1],
    ]);
  });

  test("a result that would come back as another is not kept", async () => {
    let runs = 0;
    const when = cacheFunctionResult(async () => ({ run: ++runs, at: new Date(0) }), options("results"));
    expect([await when(), await when()]).toEqual([1, 2].map((run) => ({ run, at: new Date(0) })));
  });

  test("keeps no failure, and nothing that is no JSON", async () => {
    let runs = 0;
    const stumble = async (what: string) => {
      runs += 1;
      if (runs === 1) throw new Error("stumbled");
      return what === "nothing" ? undefined : what;
    };
    const cached = cacheFunctionResult(stumble, options("stumble"));
    await expect(cached("a")).rejects.toThrow("stumbled");
    expect([await cached("a"), await cached("a")]).toEqual(["a", "a"]);
    expect([await cached("nothing"), await cached("nothing")]).toEqual([undefined, undefined]);
    expect(runs).toBe(4);
  });
});

describe.concurrent("the cache's size", { tags: "long" }, () => {
  test("the least recently used answers go first; their sum stays below the limit", async () => {
    await using own = await TestSite.open({}, { CACHE_SIZE_LIMIT: "20000" });
    own.start("worker");
    await using client = openClient(own);
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
    await using client = openClient(own);
    expect(await ask(client, "off", SAME, { cache: true })).toEqual([false, false]);
    expect(await redis.keys(`${redisKeys(own.namespace).prefix}:cache*`)).toEqual([]);
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

test("Redis without memory: the call succeeds all the same", async () => {
  const held = await holdEmbeddedRedis(redisOptions());
  onTestFinished(() => held.release());
  const full = connectRedis({ socketPath: held.socketPath }, createLogger({ level: "silent", json: true }));
  onTestFinished(() => full.disconnect());
  const called = Promise.withResolvers<void>();
  const isFull = Promise.withResolvers<void>();
  const answer = async () => {
    called.resolve();
    await isFull.promise;
    return "fine" as const;
  };
  const env = { GLUELLM_REDIS_URL: `unix://${held.socketPath}`, GLUELLM_LOG_LEVEL: "debug" };
  await using odd = await oddSite(answer, env);
  const worker = odd.site.start("worker");
  await using client = openClient(odd.site, { model: "odd:a" });
  const result = client.complete("full", SAME);
  await called.promise;
  await full.config("SET", "maxmemory", "1");
  isFull.resolve();
  await waitFor("the refusal", () => worker.stderr().includes("an answer could not be kept in the cache"));
  await full.config("SET", "maxmemory", "0");
  expect((await result).fromCache).toBe(false);
  expect(await full.keys(`${redisKeys(odd.site.namespace).prefix}:cache:*`)).toEqual([]);
  expect(await ask(client, "full", SAME, SAME)).toEqual([false, true]);
});
