import { APIError as AnthropicError } from "@anthropic-ai/sdk";
import { RateLimitError } from "openai";
import { Agent, request } from "undici";
import { describe, expect, it } from "vitest";
import { TokenBucket } from "../../src/simulator/token-bucket.ts";
import { anthropicRequest, openaiRequest, post, simulatedProvider } from "../support/simulated-provider.ts";

/** A text of 10 tokens whose answer has 60. */
const TEN_IN_SIXTY_OUT = '#sim {"tokens": 60}'.padEnd(40);

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
    while (performance.now() < until) {
      const { body } = await request(`${url}/v1/chat/completions`, {
        method: "POST",
        dispatcher: agent,
        headers: { authorization: "Bearer k", "content-type": "application/json" },
        body: JSON.stringify(openaiRequest(TEN_IN_SIXTY_OUT)),
      });
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: 16 }, loop));
  await agent.close();
}

/**
 * What a strict bucket that starts empty would have held: least after a take, most at a refusal. Both come from the
 * journal's times, so they are exact however busy the machine is.
 */
async function replayUnder(limits: { rpm?: number; tpm?: number; burstSeconds: number }, amount: number) {
  await using provider = await simulatedProvider({ ...limits, startFull: false });
  await hammer(provider.simulator.url, 1500);
  const perMs = (limits.rpm ?? limits.tpm ?? 0) / 60_000;
  const entries = provider.simulator.journal.entries();
  const held = { afterTake: Number.POSITIVE_INFINITY, atRefusal: 0 };
  let level = 0;
  let last = entries[0]!.at;
  for (const { at, status } of entries) {
    level = Math.min(perMs * 1000 * limits.burstSeconds, level + (at - last) * perMs);
    last = at;
    if (status === 200) {
      level -= amount;
      held.afterTake = Math.min(held.afterTake, level);
    } else held.atRefusal = Math.max(held.atRefusal, level);
  }
  return { held, stats: provider.simulator.stats() };
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
  it.each([
    ["requests", { rpm: 1200, burstSeconds: 0.5 }, 1],
    ["tokens", { tpm: 84_000, burstSeconds: 0.5 }, 70],
  ])("give %s only what the bucket holds, and refuse only what it does not", async (_, limits, amount) => {
    const { held, stats } = await replayUnder(limits, amount);
    // The journal's times are good to a fraction of a microsecond.
    expect(held.afterTake).toBeGreaterThan(-0.01);
    expect(held.atRefusal).toBeLessThan(amount + 0.01);
    expect(stats.accepted.requests).toBeGreaterThan(0);
    expect(stats.rateLimited).toBeGreaterThan(0);
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
    expect(error.headers.get("x-ratelimit-limit-tokens")).toBe("120000");
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
    for (const scope of ["requests", "tokens"]) {
      const header = (name: string) => response.headers.get(`anthropic-ratelimit-${scope}-${name}`);
      expect(header("limit")).toBe(scope === "requests" ? "60" : "120000");
      expect(Number(header("remaining"))).toBeGreaterThanOrEqual(0);
      expect(header("reset")).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(Date.parse(header("reset")!)).toBeGreaterThanOrEqual(before);
    }
    // Else a client would believe in limits for input and output that are not there.
    expect([...response.headers.keys()].join()).not.toMatch(/input-tokens|output-tokens/);
    const error = await provider.anthropic.messages.create(anthropicRequest("two")).catch((reason) => reason);
    expect(error).toBeInstanceOf(AnthropicError);
    expect(error).toMatchObject({ status: 429, type: "rate_limit_error" });
    expect(error.headers.get("retry-after")).toBe("1");
    expect(error.headers.get("anthropic-ratelimit-requests-limit")).toBe("60");
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

  it("tell the new limits in the first answer after a change", async () => {
    await using provider = await simulatedProvider({ rpm: 600, itpm: 6000 });
    const limits = async () => {
      const { response } = await provider.anthropic.messages.create(anthropicRequest("x")).withResponse();
      return ["requests", "input-tokens", "output-tokens"].map((scope) =>
        response.headers.get(`anthropic-ratelimit-${scope}-limit`),
      );
    };
    expect(await limits()).toEqual(["600", "6000", null]);
    provider.simulator.setLimits({ rpm: 1200, itpm: null, otpm: 60_000 });
    expect(await limits()).toEqual(["1200", null, "60000"]);
  });

  it("say to the millisecond when the refused request fits", async () => {
    await using provider = await simulatedProvider({ tpm: 6000, burstSeconds: 0.1 });
    const url = `${provider.simulator.url}/v1/chat/completions`;
    // 250 tokens: more than the bucket's 10 but less than a minute's, so a full bucket gives them and owes the rest.
    const ask = () => post(url, openaiRequest('#sim {"reply": "x", "tokens": 240}'.padEnd(40)));
    expect((await ask()).status).toBe(200);
    const refused = await ask();
    expect([refused.status, refused.headers.get("x-ratelimit-remaining-tokens")]).toEqual([429, "0"]);
    const [first, second] = provider.simulator.journal.entries();
    const exact = (250 * 60_000) / 6000 - (second!.at - first!.at);
    expect(Math.abs(Number(refused.headers.get("retry-after-ms")) - exact)).toBeLessThanOrEqual(1.01);
  });
});

describe("limits of input and output tokens", () => {
  it("have a bucket and Anthropic headers each", async () => {
    await using provider = await simulatedProvider({ itpm: 6000, otpm: 12_000 });
    const request = anthropicRequest(TEN_IN_SIXTY_OUT);
    const { response } = await provider.anthropic.messages.create(request).withResponse();
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "anthropic-ratelimit-input-tokens-limit": "6000",
      "anthropic-ratelimit-input-tokens-remaining": "90",
      "anthropic-ratelimit-input-tokens-reset": expect.stringMatching(/Z$/),
      "anthropic-ratelimit-output-tokens-limit": "12000",
      "anthropic-ratelimit-output-tokens-remaining": "140",
      "anthropic-ratelimit-output-tokens-reset": expect.stringMatching(/Z$/),
    });
    expect([...response.headers.keys()].join()).not.toMatch(/ratelimit-(requests|tokens)/);
  });

  it("are not in OpenAI's headers", async () => {
    await using provider = await simulatedProvider({ itpm: 6000, otpm: 12_000 });
    const { response } = await provider.openai.chat.completions.create(openaiRequest("x")).withResponse();
    expect([...response.headers.keys()].join()).not.toContain("ratelimit");
  });

  it.each([
    [{ itpm: 60 }, "60 input tokens per minute", "on input tokens per min (ITPM): Limit 60 "],
    [{ otpm: 60 }, "60 output tokens per minute", "on output tokens per min (OTPM): Limit 60 "],
    [{ itpm: 60, otpm: 60 }, "60 output tokens per minute", "on output tokens per min (OTPM): Limit 60 "],
  ])("%j refuses in the dialect's words", async (limits, anthropicWords, openaiWords) => {
    await using provider = await simulatedProvider(limits);
    const ask = (key: string, dialect: "openai" | "anthropic") => {
      const { openai, anthropic } = provider;
      return dialect === "openai"
        ? openai.withOptions({ apiKey: key }).chat.completions.create(openaiRequest(TEN_IN_SIXTY_OUT))
        : anthropic.withOptions({ apiKey: key }).messages.create(anthropicRequest(TEN_IN_SIXTY_OUT));
    };
    for (const [dialect, words, type] of [
      ["openai", openaiWords, "tokens"],
      ["anthropic", anthropicWords, "rate_limit_error"],
    ] as const) {
      await ask(dialect, dialect);
      const error = await ask(dialect, dialect).catch((reason) => reason);
      expect(error).toMatchObject({ status: 429, type });
      expect(error.message).toContain(words);
    }
  });
});
