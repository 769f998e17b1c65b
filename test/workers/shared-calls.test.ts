import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EnqueueOptions } from "../../src/index.ts";
import type { Simulator } from "../../src/simulator/simulator.ts";
import { CacheStore } from "../../src/store/cache.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { testRedis } from "../support/redis.ts";
import { SHORT_LOCKS, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const SAME: EnqueueOptions = { temperature: 0 };
/** The first call is in flight for as long as the test needs; the one that takes over is answered. */
const FIRST_HANGS = `#sim {"error": "hang", "errorTimes": 1}`;

let site: TestSite;

/** Two worker processes, shared by the tests of equal requests. */
beforeAll(async () => {
  site = await TestSite.open();
  for (const _ of [1, 2]) site.start("worker", "--concurrency", "30");
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
});

const callsOf = ({ journal }: Simulator, prompt: string) =>
  journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(prompt)).length;

describe.concurrent("equal requests at the same time", () => {
  test("50 jobs on two worker processes: one call, whose answer all have", { tags: "long" }, async () => {
    await using client = openClient(site);
    const prompt = `crowd\n#sim {"latencyMs": 1500}`;
    const results = await Promise.all(Array.from({ length: 50 }, () => client.complete(prompt, SAME)));
    expect(callsOf(site.simulator, "crowd")).toBe(1);
    expect(results.filter(({ fromCache }) => fromCache)).toHaveLength(49);
    expect(new Set(results.map(({ finalResponse }) => finalResponse)).size).toBe(1);
    expect(new Set(results.map(({ attempts }) => attempts))).toEqual(new Set([1]));
  });

  test("a call that fails with 500 fails nobody else: another one calls", { tags: "long" }, async () => {
    await using client = openClient(site);
    const prompt = `stumbles\n#sim {"latencyMs": 300, "error": "500", "errorTimes": 1}`;
    const results = await Promise.all(Array.from({ length: 10 }, () => client.complete(prompt, SAME)));
    expect(callsOf(site.simulator, "stumbles")).toBe(2);
    expect(results.filter(({ fromCache }) => fromCache)).toHaveLength(9);
  });

  test("a request that is refused is refused for each of them", { tags: "long" }, async () => {
    await using client = openClient(site);
    const prompt = `refused\n#sim {"error": "400"}`;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => client.complete(prompt, SAME)),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(Array(20).fill("rejected"));
    expect(callsOf(site.simulator, "refused")).toBe(20);
  });

  test("a cancelled call hands over at once", { tags: "long" }, async () => {
    await using client = openClient(site);
    const prompt = `handed over\n${FIRST_HANGS}`;
    const leader = await client.enqueue(prompt, SAME);
    await waitFor("the call", () => callsOf(site.simulator, "handed over") === 1);
    const follower = await client.enqueue(prompt, SAME);
    await waitFor("the follower", async () => (await follower.status()).state !== "waiting");
    expect(await leader.cancel()).toBe(true);
    expect((await follower.result()).fromCache).toBe(false);
    expect(callsOf(site.simulator, "handed over")).toBe(2);
  });

  test("a killed worker's call is taken over, and a job that waits says for what", {
    tags: "long",
  }, async () => {
    await using own = await TestSite.open({}, SHORT_LOCKS);
    const doomed = own.start("worker");
    await using client = openClient(own);
    const prompt = `killed\n${FIRST_HANGS}`;
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
  });

  test("no job waits past its deadline for another one", { tags: "long" }, async () => {
    await using client = openClient(site);
    const prompt = `impatient\n#sim {"latencyMs": 24000}`;
    const leader = client.complete(prompt, SAME);
    await waitFor("the call", () => callsOf(site.simulator, "impatient") === 1);
    const result = await client.complete(prompt, { ...SAME, deadlineMs: 20_000 });
    expect(result.fromCache).toBe(false);
    expect((await leader).fromCache).toBe(false);
  });
});

test("after three failures in a row, or one that lasts, nobody waits for another one", async () => {
  const redis = testRedis();
  const keys = redisKeys(site.namespace);
  const cache = new CacheStore({ store: plainStore(redis, keys), maxBytes: 1e6 });
  const claim = async (digest: string, token: string) => (await cache.claim(digest, token, 60_000)).kind;
  for (const token of ["a", "b", "c"]) {
    expect(await claim("stumbles", token)).toBe("lead");
    expect(await claim("stumbles", `${token}2`)).toBe("follow");
    await cache.release("stumbles", token, "passing");
  }
  expect([await claim("stumbles", "d"), await claim("stumbles", "e")]).toEqual(["alone", "alone"]);
  expect(await claim("refused", "a")).toBe("lead");
  await cache.release("refused", "somebody else", "lasting");
  expect(await claim("refused", "b")).toBe("follow");
  await cache.release("refused", "a", "lasting");
  expect(await claim("refused", "b")).toBe("alone");
  await cache.keep("refused", "b", "an answer after all", 60);
  expect(await claim("refused", "c")).toBe("hit");
  redis.disconnect();
});

describe.concurrent("a batch", () => {
  test("of which 70 % repeat: 30 % of the calls, and the report says so, also when it goes on later", {
    tags: "long",
  }, async () => {
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
  });

  test("takes --cache and --no-cache for all rows; they make no row another one", {
    tags: "long",
  }, async () => {
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
