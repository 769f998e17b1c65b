import { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { type EnqueueOptions, GlueLLM } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { Call } from "../../src/simulator/call.ts";
import type { ScriptedAnswer } from "../../src/simulator/directive.ts";
import { NEAR_MISSES, PARAPHRASES } from "../support/near-misses.ts";
import { redis8, startRedis8 } from "../support/redis8.ts";
import { sampleOf } from "../support/sample.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { add } from "../support/tools.ts";

const PRICES = JSON.stringify({
  "simulator:embedder": { inputPerMillion: 1, outputPerMillion: 0 },
  "simulator:*": { inputPerMillion: 100, outputPerMillion: 100 },
});
const SAME: EnqueueOptions = { temperature: 0 };

/** A client that works too, with a semantic cache over the simulator's vectors, which are near where words are shared. */
async function semanticSite(
  variables: Record<string, string> = {},
  answer?: (call: Call) => ScriptedAnswer | undefined,
) {
  const site = await TestSite.open(
    { latencyMs: 1, ...(answer && { answer }) },
    {
      GLUELLM_DEFAULT_MODEL: MODEL,
      GLUELLM_SEMANTIC_CACHE: "serve",
      GLUELLM_SEMANTIC_CACHE_MODEL: "simulator:embedder",
      GLUELLM_PRICES: PRICES,
      ...variables,
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const glue = new GlueLLM({ mode: "local", settings });
  onTestFinished(() => glue.close());
  const count = (operation: string) =>
    site.simulator.journal.entries().filter((entry) => entry.operation === operation).length;
  return { site, glue, settings, chats: () => count("chat"), vectors: () => count("embeddings") };
}

test("a question in other words is given the answer, and the saving is booked less what the vectors cost", async () => {
  const { glue, chats, vectors } = await semanticSite();
  const first = await glue.complete("Why is the sky blue?", SAME);
  expect(first).toMatchObject({ fromCache: false, similarity: undefined });
  const second = await glue.complete("why is the sky blue", SAME);
  expect(second).toMatchObject({ fromCache: true, finalResponse: first.finalResponse });
  expect(second.similarity).toBeCloseTo(1, 5);
  expect([chats(), vectors()]).toEqual([1, 2]);
  // What was paid for its own vector is the job's.
  expect(second.costUsd).toBeGreaterThan(0);
  expect(second.costUsd).toBeLessThan((first.costUsd ?? 0) / 10);
  const { asked, near, served, booking } = await glue.cacheReport();
  expect({ asked, near, served }).toEqual({ asked: 2, near: 1, served: 1 });
  const vectorUsd = second.costUsd ?? 0;
  expect(booking.savedUsd).toBeCloseTo((first.costUsd ?? 0) - vectorUsd, 6);
  expect(booking.embeddingUsd).toBeCloseTo(2 * vectorUsd, 6);
  expect(booking.netUsd).toBeCloseTo(booking.savedUsd - booking.embeddingUsd, 9);
});

test("what is asked in other words is given above the threshold alone", async () => {
  const near = await semanticSite({ GLUELLM_SEMANTIC_CACHE_THRESHOLD: "0.3" });
  const far = await semanticSite();
  for (const [i, [one, other]] of PARAPHRASES.entries()) {
    const options = { ...SAME, system: `pair ${i}` };
    for (const { glue } of [near, far]) await glue.complete(one, options);
    const told = await near.glue.complete(other, options);
    expect(told, other).toMatchObject({ fromCache: true });
    const similarity = told.similarity ?? 0;
    expect(await far.glue.complete(other, options), other).toMatchObject({ fromCache: similarity >= 0.97 });
  }
  expect((await near.glue.cacheReport()).served).toBe(PARAPHRASES.length);
  expect((await far.glue.cacheReport()).served).toBeLessThan(PARAPHRASES.length);
});

test.skipIf(redis8 === undefined)(
  "where Redis has vector sets it compares, with the same outcome",
  async () => {
    const redisUrl = `unix://${await startRedis8()}`;
    const { glue, chats, site } = await semanticSite({ GLUELLM_REDIS_URL: redisUrl });
    await glue.complete("Why is the sky blue?", SAME);
    expect(await glue.complete("why is the sky blue", SAME)).toMatchObject({ fromCache: true });
    expect(await glue.complete("why is the sea blue", SAME)).toMatchObject({ fromCache: false });
    expect(chats()).toBe(2);
    const redis = new Redis(redisUrl.slice("unix://".length));
    const vectors = await redis.keys(`*${site.namespace}*:vectors`);
    redis.disconnect();
    expect(vectors).toHaveLength(1);
  },
);

test("only the last text is compared: where anything else differs nothing is given", async () => {
  const { glue, settings, chats } = await semanticSite({ GLUELLM_SEMANTIC_CACHE_THRESHOLD: "0" });
  const earlier = [
    { role: "user" as const, content: "Hello." },
    { role: "assistant" as const, content: "Hello!" },
  ];
  const ask = (options: EnqueueOptions, text = "why is the sky blue") =>
    glue.complete(text, { ...SAME, ...options });
  await ask({}, "Why is the sky blue?");
  const others: EnqueueOptions[] = [
    { system: "Be short." },
    { model: "simulator:other" },
    { tools: [add] },
    { maxTokens: 50 },
    {
      schema: {
        type: "object",
        properties: { a: { type: "string" } },
        required: ["a"],
        additionalProperties: false,
      },
    },
    { cache: true, temperature: 0.5 },
    { extra: { user: "somebody" } },
  ];
  for (const options of others) expect(await ask(options)).toMatchObject({ fromCache: false });
  const told = await glue.complete([...earlier, { role: "user", content: "why is the sky blue" }], SAME);
  expect(told.fromCache).toBe(false);
  await using stranger = new GlueLLM({ mode: "fleet", settings, tenant: "stranger" });
  expect(await stranger.complete("why is the sky blue", SAME)).toMatchObject({ fromCache: false });
  expect(chats()).toBe(1 + others.length + 2);
  expect((await glue.cacheReport()).served).toBe(0);
  expect(await ask({})).toMatchObject({ fromCache: true });
});

test("none of the near-misses is given the other's answer, however low the threshold", async () => {
  const { glue } = await semanticSite({ GLUELLM_SEMANTIC_CACHE_THRESHOLD: "0" });
  const pairs = sampleOf("near-misses", NEAR_MISSES, 5);
  // Each pair in a scope of its own.
  const asked = pairs.map(async ({ one, other }, i) => {
    const options = { ...SAME, system: `pair ${i}` };
    await glue.complete(one, options);
    return { one, other, fromCache: (await glue.complete(other, options)).fromCache };
  });
  expect((await Promise.all(asked)).filter(({ fromCache }) => fromCache)).toEqual([]);
  const { vetoes, served, asked: compared } = await glue.cacheReport();
  expect(served).toBe(0);
  expect(compared).toBe(2 * pairs.length);
  const refused = Object.values(vetoes).reduce((sum, count) => sum + count, 0);
  // Vectors of a few pairs are opposite to each other, or of no letters.
  expect(refused).toBeGreaterThan(0.9 * pairs.length);
});

test("in shadow mode every question is asked, and the report says how often the near answer would have done", async () => {
  const { glue, settings, chats } = await semanticSite(
    { GLUELLM_SEMANTIC_CACHE: "shadow", GLUELLM_SEMANTIC_CACHE_JUDGE: "simulator:judge" },
    ({ model, lastUserText: text }) => {
      if (model === "judge") return { reply: text.includes("moon") ? "Yes." : "no" };
      return { reply: /sky/i.test(text) ? "Scattering!" : `Answer ${text.length}` };
    },
  );
  const ask = async (...texts: string[]) => {
    for (const text of texts) expect((await glue.complete(text, SAME)).fromCache).toBe(false);
  };
  // Equal answers; answers of which the judge says that they are; answers of which it does not.
  await ask(
    "Why is the sky blue?",
    "why is the sky blue",
    "Why does the moon shine?",
    "why does the moon shine",
  );
  await ask("Why is water wet?", "why is water wet?!");
  const report = await glue.cacheReport();
  expect(report).toMatchObject({ asked: 6, near: 3, served: 0, agreement: { agreed: 2, differed: 1 } });
  expect(report.agreement.bands[0]).toEqual({ from: 0.99, agreed: 2, differed: 1 });
  expect(report.examples).toEqual([
    { asked: "why is water wet?!", earlier: "Why is water wet?", similarity: expect.closeTo(1, 5) },
  ]);
  await using tenant = new GlueLLM({ mode: "fleet", settings, tenant: "stranger" });
  expect((await tenant.cacheReport()).examples).toEqual([]);
  expect(report.booking).toMatchObject({ savedUsd: 0, judgeUsd: expect.any(Number) });
  expect(report.booking.netUsd).toBeLessThan(0);
  // Two of the judge.
  expect(chats()).toBe(8);
});

test("a vector that cannot be had costs nobody an answer", async () => {
  const { glue, chats } = await semanticSite({ GLUELLM_SEMANTIC_CACHE_MODEL: "claude:test" });
  await glue.complete("Why is the sky blue?", SAME);
  expect(await glue.complete("why is the sky blue", SAME)).toMatchObject({ fromCache: false });
  expect(chats()).toBe(2);
  expect(await glue.cacheReport()).toMatchObject({ asked: 2, failed: 2, served: 0 });
});

test("calls that may not use the cache are not compared, and it is off by default", async () => {
  const { glue, vectors } = await semanticSite();
  await glue.complete("Why is the sky blue?");
  await glue.complete("Why is the sky blue?", { temperature: 0, cache: false });
  await glue.complete([{ role: "user", content: [{ type: "text", text: "Why?" }] }], SAME);
  expect(vectors()).toBe(0);
  const plain = await semanticSite({ GLUELLM_SEMANTIC_CACHE: "off" });
  await plain.glue.complete("Why is the sky blue?", SAME);
  expect(plain.vectors()).toBe(0);
  expect((await plain.glue.cacheReport()).since).toBeUndefined();
});

test("a model for vectors of no provider is said when the worker starts", async () => {
  const { glue } = await semanticSite({ GLUELLM_SEMANTIC_CACHE_MODEL: "nobody:model" });
  await expect(glue.complete("Why is the sky blue?", SAME)).rejects.toThrow('unknown provider "nobody"');
});

test("it cannot be switched on without a model for vectors", () => {
  const env = { GLUELLM_SEMANTIC_CACHE: "shadow" };
  expect(() => loadSettings({ env, cwd: "/" })).toThrow("GLUELLM_SEMANTIC_CACHE_MODEL: is needed");
});
