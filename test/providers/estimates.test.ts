import { describe, expect, it } from "vitest";
import { durationMs, retryAfterMs } from "../../src/providers/retry-after.ts";
import type { ChatRequest } from "../../src/shared/chat.ts";
import type { ProviderEntry } from "../../src/shared/providers.ts";
import { callOf, chat, goodBody, MODELS, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

describe("retryAfterMs", () => {
  const NOW = Date.UTC(2026, 0, 1);
  it.each<[string, Record<string, string>, number | undefined]>([
    ["nothing", {}, undefined],
    ["milliseconds", { "retry-after-ms": "12.5" }, 13],
    ["seconds", { "retry-after": "1.5" }, 1500],
    ["a date", { "retry-after": "Thu, 01 Jan 2026 00:00:10 GMT" }, 10_000],
    [
      "a date by the server's clock",
      { "retry-after": "Thu, 01 Jan 2026 01:00:10 GMT", date: "Thu, 01 Jan 2026 01:00:00 GMT" },
      10_000,
    ],
    ["a date past", { "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, undefined],
    ["zero", { "retry-after": "0" }, undefined],
    ["less than zero", { "retry-after-ms": "-5", "retry-after": "2" }, 2000],
    ["words", { "retry-after": "soon", "retry-after-ms": "later" }, undefined],
    ["a year", { "retry-after": "31536000" }, 86_400_000],
    ["resets with something left", reset("3", "20s"), undefined],
    ["a reset with nothing left", reset("0", "12ms"), 12],
    [
      "two spent limits: the later",
      { ...reset("0", "2s"), "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m1s" },
      61_000,
    ],
    ["a reset that is no time", reset("0", "tomorrow"), undefined],
    ["a reset in epoch seconds", reset("0", String(NOW / 1000 + 3)), 3000],
    ["a reset in epoch seconds with a fraction", reset("0", String(NOW / 1000 + 3.5)), 3500],
    ["a reset in epoch milliseconds", reset("0", String(NOW + 1234)), 1234],
    ["a reset as an ISO date", reset("0", "2026-01-01T00:00:07Z"), 7000],
    ["a reset as an HTTP date", reset("0", "Thu, 01 Jan 2026 00:00:08 GMT"), 8000],
    ["an epoch past", reset("0", String(NOW / 1000 - 60)), undefined],
    ["an epoch as retry-after", { "retry-after": String(NOW / 1000 + 9) }, 9000],
    [
      "an epoch by the server's clock",
      { ...reset("0", String(NOW / 1000 + 3605)), date: "Thu, 01 Jan 2026 01:00:00 GMT" },
      5000,
    ],
    [
      "limits without a kind",
      { "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(NOW + 60_000) },
      60_000,
    ],
  ])("reads %s", (_what, headers, expected) => {
    expect(retryAfterMs(new Headers(headers), NOW)).toBe(expected);
  });

  function reset(remaining: string, text: string) {
    return { "x-ratelimit-remaining-requests": remaining, "x-ratelimit-reset-requests": text };
  }

  it.each([
    ["6m0s", 360_000],
    ["1h0m30s", 3_630_000],
    ["1.5s", 1500],
    ["250us", 0.25],
    ["7", 7000],
    ["", Number.NaN],
    ["6m later", Number.NaN],
  ])("reads the duration %j", (text, millis) => {
    expect(durationMs(text)).toBe(millis);
  });
});

describe("estimateTokens", () => {
  const openai = (changes: Partial<ProviderEntry> = {}) =>
    testAdapter({ ...testEntry("openai", "http://127.0.0.1:9"), ...changes });
  const anthropic = () => testAdapter(testEntry("anthropic", "http://127.0.0.1:9"));
  const HUNDRED = "abcd".repeat(100);

  it("counts a quarter of the bytes, something for each message, and the answer's limit", () => {
    const estimate = (request: ChatRequest) => openai().estimateTokens("m", request);
    expect(estimate(chat(HUNDRED, { max_tokens: 50 }))).toEqual({ input: 104, output: 50 });
    expect(estimate(chat(HUNDRED, { max_tokens: 50, n: 3 }))).toEqual({ input: 104, output: 150 });
    expect(estimate(chat("汉字".repeat(50), { max_completion_tokens: 1 }))).toEqual({ input: 79, output: 1 });
    expect(estimate(chat(HUNDRED))).toEqual({ input: 104, output: 500 });
  });

  it("counts tools, and a picture by what it is, not by its bytes", () => {
    const plain = openai().estimateTokens("m", chat(HUNDRED, { max_tokens: 1 })).input;
    const tools = [{ type: "function", function: { name: "f", description: HUNDRED } }];
    const withTools = openai().estimateTokens("m", chat(HUNDRED, { max_tokens: 1, tools })).input;
    expect(withTools).toBeGreaterThan(plain + 100);
    const picture: ChatRequest = {
      messages: [
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: `data:image/png;base64,${HUNDRED.repeat(500)}` } },
          ],
        },
      ],
      max_tokens: 1,
    };
    expect(openai().estimateTokens("m", picture)).toEqual({ input: 1004, output: 1 });
  });

  it("reserves the usual output, and all of the limit only where the provider counts that", () => {
    const long = chat(HUNDRED, { max_tokens: 32_000 });
    expect(anthropic().estimateTokens("m", long)).toEqual({ input: 104, output: 500 });
    expect(openai().estimateTokens("m", long).output).toBe(500);
    expect(openai({ tokenCharge: "requested" }).estimateTokens("m", long).output).toBe(32_000);
    expect(openai({ tokenCharge: "requested" }).estimateTokens("m", chat(HUNDRED)).output).toBe(500);
  });

  it("learns the usual length of an answer", async () => {
    const usage = { prompt_tokens: 12, completion_tokens: 20, total_tokens: 32 };
    const server = await wireServer((response) => sendJson(response, { ...goodBody("openai"), usage }));
    const adapter = testAdapter(testEntry("openai", server.url));
    for (let i = 0; i < 100; i++) await adapter.complete(callOf("openai", "Hello"));
    expect(adapter.estimateTokens(MODELS.openai, chat(HUNDRED))).toEqual({ input: 104, output: 21 });
    expect(adapter.estimateTokens("another", chat(HUNDRED)).output).toBe(500);
  });
});

describe("what a call is charged", () => {
  it("is what it used, or what it might have used where the provider counts that, or estimated", async () => {
    const usage = { prompt_tokens: 12, completion_tokens: 20, total_tokens: 32 };
    const server = await wireServer((response) => sendJson(response, { ...goodBody("openai"), usage }));
    const used = testAdapter(testEntry("openai", server.url));
    const requested = testAdapter({ ...testEntry("openai", server.url), tokenCharge: "requested" });
    const call = callOf("openai", chat("Hello", { max_tokens: 300 }));
    expect((await used.complete(call)).charged).toEqual({ input: 12, output: 20 });
    expect((await requested.complete(call)).charged).toEqual({ input: 12, output: 300 });
    expect((await requested.complete(callOf("openai", "Hello"))).charged).toEqual({ input: 12, output: 20 });

    const silent = await wireServer((response) =>
      sendJson(response, { ...goodBody("openai"), usage: undefined }),
    );
    const unknown = testAdapter(testEntry("openai", silent.url));
    const reply = await unknown.complete(call);
    expect(reply.charged).toEqual({ input: 6, output: 2 });
    expect(reply.tokens).toEqual({ prompt: 6, completion: 2, total: 8, cached: 0, estimated: true });
  });

  it("leaves out what Anthropic read from its cache", async () => {
    const usage = {
      input_tokens: 10,
      output_tokens: 7,
      cache_read_input_tokens: 1000,
      cache_creation_input_tokens: 50,
    };
    const server = await wireServer((response) => sendJson(response, { ...goodBody("anthropic"), usage }));
    const adapter = testAdapter(testEntry("anthropic", server.url));
    const reply = await adapter.complete(callOf("anthropic", "Hello"));
    expect(reply.charged).toEqual({ input: 60, output: 7 });
    expect(reply.tokens.total).toBe(1067);
  });
});
