import { APIError as AnthropicError } from "@anthropic-ai/sdk";
import { RateLimitError } from "openai";
import { Agent, request } from "undici";
import { describe, expect, it } from "vitest";
import type { JournalEntry } from "../src/simulator/journal.ts";
import { TokenBucket } from "../src/simulator/token-bucket.ts";
import { anthropicRequest, openaiRequest, simulatedProvider } from "./support/simulated-provider.ts";

/** The most taken in any window beyond what its length allows; a strict bucket keeps it within its capacity. */
function largestBurst(takes: { at: number; amount: number }[], perMs: number): number {
  let burst = 0;
  let largest = 0;
  let last = takes[0]?.at ?? 0;
  for (const { at, amount } of takes) {
    burst = Math.max(0, burst - (at - last) * perMs) + amount;
    largest = Math.max(largest, burst);
    last = at;
  }
  return largest;
}

/** Keeps 16 calls in flight for `durationMs`. */
async function hammer(url: string, durationMs: number): Promise<void> {
  const agent = new Agent({ connections: 16 });
  const until = performance.now() + durationMs;
  const loop = async () => {
    for (let n = 0; performance.now() < until; n++) {
      const { body } = await request(`${url}/v1/chat/completions`, {
        method: "POST",
        dispatcher: agent,
        headers: { authorization: "Bearer k", "content-type": "application/json" },
        body: JSON.stringify(openaiRequest(`question ${n}`)),
      });
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: 16 }, loop));
  await agent.close();
}

async function acceptedUnder(
  limits: { rpm?: number; tpm?: number; burstSeconds: number },
  amount: (entry: JournalEntry) => number,
) {
  // Empty at first, so that only a stall longer than the burst could cost any of the rate.
  await using provider = await simulatedProvider({ ...limits, startFull: false });
  await hammer(provider.simulator.url, 1500);
  const entries = provider.simulator.journal.entries();
  const seconds = (entries.at(-1)!.at - entries[0]!.at) / 1000;
  const takes = entries
    .filter(({ status }) => status === 200)
    .map((entry) => ({ at: entry.at, amount: amount(entry) }));
  const perMinute = limits.rpm ?? limits.tpm ?? 0;
  return {
    capacity: (perMinute / 60) * limits.burstSeconds,
    burst: largestBurst(takes, perMinute / 60_000),
    use: takes.reduce((sum, take) => sum + take.amount, 0) / ((perMinute / 60) * seconds),
    rateLimited: provider.simulator.stats().rateLimited,
  };
}

describe("a token bucket", () => {
  it("never gives more than its capacity and rate allow, and nearly all of it", () => {
    const bucket = new TokenBucket(6000, 50, 0, true);
    const takes: { at: number; amount: number }[] = [];
    let nowMs = 0;
    for (let step = 1; step <= 20_000; step++) {
      nowMs += (step * 7919) % 13;
      const amount = 1 + ((step * 104_729) % 9);
      if (bucket.waitMs(amount, nowMs) > 0) continue;
      bucket.take(amount, nowMs);
      takes.push({ at: nowMs, amount });
    }
    expect(largestBurst(takes, 0.1)).toBeLessThanOrEqual(50 + 1e-6);
    const taken = takes.reduce((sum, { amount }) => sum + amount, 0);
    expect(taken / (50 + nowMs * 0.1)).toBeGreaterThan(0.97);
  });

  it("says exactly how long to wait, starts empty on demand, and keeps its level over a change of rate", () => {
    const bucket = new TokenBucket(60, 2, 0, false);
    expect(bucket.waitMs(1, 0)).toBe(1000);
    expect(bucket.waitMs(1, 1000)).toBe(0);
    expect(bucket.waitMs(3, 0)).toBe(2000);
    expect(bucket.waitMs(61, 0)).toBe(Number.POSITIVE_INFINITY);
    bucket.resize(600, 20, 1000);
    expect(bucket.read(1000)).toEqual({ perMinute: 600, remaining: 1, fullInMs: 1900 });
  });
});

describe("the simulator's limits", () => {
  it("are strict and reachable for requests", async () => {
    const { burst, capacity, use, rateLimited } = await acceptedUnder(
      { rpm: 12_000, burstSeconds: 0.5 },
      () => 1,
    );
    expect(burst).toBeLessThanOrEqual(capacity + 0.001);
    expect(use).toBeGreaterThan(0.97);
    expect(rateLimited).toBeGreaterThan(0);
  });

  it("are strict and reachable for tokens", async () => {
    const { burst, capacity, use, rateLimited } = await acceptedUnder(
      { tpm: 600_000, burstSeconds: 0.5 },
      ({ promptTokens, completionTokens }) => promptTokens + completionTokens,
    );
    expect(burst).toBeLessThanOrEqual(capacity + 0.001);
    expect(use).toBeGreaterThan(0.97);
    expect(rateLimited).toBeGreaterThan(0);
  });

  it("hold for each key and model on their own", async () => {
    await using provider = await simulatedProvider({ rpm: 1 });
    const ask = (model: string, key: string) =>
      provider.openai
        .withOptions({ apiKey: key })
        .chat.completions.create({ ...openaiRequest("x"), model })
        .then(
          () => 200,
          (error: RateLimitError) => error.status,
        );
    expect(await ask("a", "k1")).toBe(200);
    expect(await ask("a", "k1")).toBe(429);
    expect(await ask("b", "k1")).toBe(200);
    expect(await ask("a", "k2")).toBe(200);
  });

  it("speak OpenAI's headers and error", async () => {
    await using provider = await simulatedProvider({ rpm: 60, tpm: 120_000 });
    const { response, data } = await provider.openai.chat.completions
      .create(openaiRequest("one"))
      .withResponse();
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "1s",
      "x-ratelimit-limit-tokens": "120000",
      "x-ratelimit-remaining-tokens": String(2000 - data.usage!.total_tokens),
      "x-ratelimit-reset-tokens": expect.stringMatching(/^\d+ms$/),
    });
    const error = await provider.openai.chat.completions
      .create(openaiRequest("two"))
      .catch((reason) => reason);
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error).toMatchObject({ status: 429, type: "requests", code: "rate_limit_exceeded" });
    const waitMs = Number(error.headers.get("retry-after-ms"));
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(1000);
    expect(error.headers.get("retry-after")).toBe("1");
    expect(provider.simulator.journal.entries()[1]).toMatchObject({
      status: 429,
      fault: null,
      promptTokens: 0,
    });
  });

  it("speak Anthropic's headers and error", async () => {
    await using provider = await simulatedProvider({ rpm: 60, tpm: 120_000 });
    const before = Date.now();
    const { response } = await provider.anthropic.messages.create(anthropicRequest("one")).withResponse();
    for (const scope of ["requests", "tokens", "input-tokens", "output-tokens"]) {
      const header = (name: string) => response.headers.get(`anthropic-ratelimit-${scope}-${name}`);
      expect(header("limit")).toBe(scope === "requests" ? "60" : "120000");
      expect(Number(header("remaining"))).toBeGreaterThanOrEqual(0);
      expect(header("reset")).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(Date.parse(header("reset")!)).toBeGreaterThanOrEqual(before);
    }
    const error = await provider.anthropic.messages.create(anthropicRequest("two")).catch((reason) => reason);
    expect(error).toBeInstanceOf(AnthropicError);
    expect(error).toMatchObject({ status: 429, type: "rate_limit_error" });
    expect(error.headers.get("retry-after")).toBe("1");
  });

  it("refuse for good what the bucket can never hold", async () => {
    await using provider = await simulatedProvider({ tpm: 600 });
    const error = await provider.openai.chat.completions
      .create(openaiRequest("x".repeat(4000)))
      .catch((e) => e);
    expect(error.message).toContain("Request too large for demo on tokens per min (TPM): Limit 600");
    expect(error.headers.get("retry-after")).toBeNull();
    expect(error.headers.get("x-should-retry")).toBe("false");
  });

  it("change while it runs", async () => {
    await using provider = await simulatedProvider({ rpm: 1 });
    const ask = () =>
      provider.openai.chat.completions.create(openaiRequest("x")).then(
        () => 200,
        (error) => error.status,
      );
    expect([await ask(), await ask()]).toEqual([200, 429]);
    provider.simulator.setLimits({ rpm: null });
    expect([await ask(), await ask()]).toEqual([200, 200]);
    expect(() => provider.simulator.setLimits({ rpm: -1 })).toThrow("limits rpm");
  });
});
