import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { describe, expect, onTestFinished, test } from "vitest";
import { CircuitBreaker, callLlmWithRetry, RateLimiter, retryOnFailure } from "../../src/index.ts";
import { startSimulator } from "../../src/simulator/simulator.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { anthropicRequest, openaiRequest } from "../support/simulated-provider.ts";

const FAST = { minWaitMs: 1, maxWaitMs: 5 };

async function openProvider(options: Parameters<typeof startSimulator>[0] = {}) {
  const simulator = await startSimulator({ latencyMs: 1, jitterMs: 0, ...options });
  onTestFinished(() => simulator.close());
  const client = { apiKey: "test-key", maxRetries: 0 };
  const openai = new OpenAI({ ...client, baseURL: `${simulator.url}/v1` });
  const anthropic = new Anthropic({ ...client, baseURL: simulator.url });
  return {
    simulator,
    ask: (text = "hello") => openai.chat.completions.create(openaiRequest(text)),
    askAnthropic: (text = "hello") => anthropic.messages.create(anthropicRequest(text)),
    statuses: () => simulator.journal.entries().map(({ status }) => status),
  };
}

function openFleetParts(rpm: number, cooldownMs = 100) {
  const redis = testRedis();
  const { prefix: keyPrefix } = redisKeys(testNamespace());
  const limiter = new RateLimiter({ redis, keyPrefix, budgetOf: () => ({ rpm }) });
  const breaker = new CircuitBreaker({ redis, keyPrefix, settings: { minCalls: 3, cooldownMs } });
  onTestFinished(async () => {
    await limiter.close();
    await breaker[Symbol.asyncDispose]();
    redis.disconnect();
  });
  return { limiter, breaker, redis };
}

describe("retryOnFailure", () => {
  test.each(["openai", "anthropic"] as const)("repeats what may pass, with %s's SDK", async (dialect) => {
    const { ask, askAnthropic, statuses } = await openProvider({
      faults: { script: [{ match: "hello", times: 2, fault: "500" }] },
    });
    const call: () => Promise<unknown> = dialect === "openai" ? ask : askAnthropic;
    await retryOnFailure(call, FAST)();
    expect(statuses()).toEqual([500, 500, 200]);
  });

  test("gives up after its attempts, with the last error as it was thrown", async () => {
    const { ask, statuses } = await openProvider({ faults: { "500": 1 } });
    await expect(retryOnFailure(ask, { ...FAST, maxAttempts: 2 })()).rejects.toBeInstanceOf(
      OpenAI.InternalServerError,
    );
    expect(statuses()).toEqual([500, 500]);
  });

  test("does not repeat what the provider refuses, nor what shouldRetry says no to", async () => {
    const { ask, simulator, statuses } = await openProvider({ faults: { "400": 1 } });
    await expect(retryOnFailure(ask, FAST)()).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    simulator.setFaults({ "500": 1 });
    await expect(retryOnFailure(ask, { ...FAST, shouldRetry: () => false })()).rejects.toThrow();
    expect(statuses()).toEqual([400, 500]);
  });

  test("waits out a 429 for the time it names, and uses up no attempt", async () => {
    const { ask, statuses } = await openProvider({
      faults: { script: [{ match: "hello", times: 3, fault: "429", retryAfterMs: 120 }] },
    });
    const startedAtMs = performance.now();
    await retryOnFailure(ask, { ...FAST, maxAttempts: 1 })();
    expect(statuses()).toEqual([429, 429, 429, 200]);
    expect(performance.now() - startedAtMs).toBeGreaterThan(350);
  });

  test("does not wait past its deadline, and ends with its signal", async () => {
    const { ask, statuses } = await openProvider({ faults: { "429": 1, retryAfterMs: 60_000 } });
    await expect(retryOnFailure(ask, { deadlineMs: 1000 })()).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    const ending = new AbortController();
    const waiting = retryOnFailure(ask, { signal: ending.signal })();
    setTimeout(() => ending.abort(new Error("no longer wanted")), 50);
    await expect(waiting).rejects.toThrow("no longer wanted");
    expect(statuses()).toEqual([429, 429]);
  });

  test("hands arguments and results through", async () => {
    const add = retryOnFailure(async (a: number, b: number) => a + b);
    expect(await add(2, 3)).toBe(5);
  });
});

describe("callLlmWithRetry", () => {
  test("keeps to the fleet's budget, and settles what the calls cost", async () => {
    const { ask, simulator } = await openProvider({ rpm: 1200 });
    const { limiter } = openFleetParts(1200);
    const options = { key: "openai:gpt", limiter, tokens: 10, chargedTokens: () => 5 };
    await Promise.all(Array.from({ length: 40 }, () => callLlmWithRetry(() => ask(), options)));
    expect(simulator.stats()).toMatchObject({ accepted: { requests: 40 }, rateLimited: 0 });
  });

  test("does not repeat a call because its cost cannot be read", async () => {
    const { ask, statuses } = await openProvider();
    const chargedTokens = () => {
      throw new Error("no usage");
    };
    await callLlmWithRetry(() => ask(), { ...FAST, key: "openai:gpt", chargedTokens });
    expect(statuses()).toEqual([200]);
  });

  test("waits while the breaker is open, and goes on when the provider is back", async () => {
    const { ask, simulator, statuses } = await openProvider();
    const { breaker, redis } = openFleetParts(6000);
    // What fails before there is a connection is not counted.
    await redis.ping();
    simulator.setOutage({ forMs: 60_000, kind: "503" });
    const options = { ...FAST, key: "openai:gpt", breaker, maxAttempts: 2 };
    const calls = Promise.all([1, 2, 3].map(() => callLlmWithRetry(() => ask(), options)));
    await expect.poll(() => breaker.isOpen("openai:gpt")).toBe(true);
    // Failed probes use up no attempt.
    await expect.poll(() => statuses().length).toBeGreaterThan(9);
    simulator.setOutage({ forMs: 0 });
    await calls;
    expect(statuses().slice(-3)).toEqual([200, 200, 200]);
  });

  test("refusals do not open the breaker", async () => {
    const { ask } = await openProvider({ faults: { "400": 1 } });
    const { breaker } = openFleetParts(6000);
    const options = { ...FAST, key: "openai:gpt", breaker };
    for (let i = 0; i < 5; i++) await callLlmWithRetry(() => ask(), options).catch(() => {});
    expect(breaker.isOpen("openai:gpt")).toBe(false);
  });
});
