import { expect, test } from "vitest";
import { statedLimits } from "../../src/providers/limit-headers.ts";

const NOW = Date.parse("2026-01-01T00:00:10Z");
const openai = (kind: string, limit: string, remaining: string, reset: string) => ({
  [`x-ratelimit-limit-${kind}`]: limit,
  [`x-ratelimit-remaining-${kind}`]: remaining,
  [`x-ratelimit-reset-${kind}`]: reset,
});
const anthropic = (kind: string, limit: string, remaining: string, reset: string) => ({
  [`anthropic-ratelimit-${kind}-limit`]: limit,
  [`anthropic-ratelimit-${kind}-remaining`]: remaining,
  [`anthropic-ratelimit-${kind}-reset`]: reset,
});
const stated = (headers: Record<string, string>) => statedLimits(new Headers(headers), NOW);

test("OpenAI's requests and tokens per minute", () => {
  const headers = {
    ...openai("requests", "5000", "4999", "12ms"),
    ...openai("tokens", "160000", "0", "1m0s"),
  };
  expect(stated(headers)).toEqual({ rpm: 5000, tpm: 160_000 });
});

test("Anthropic's requests, input and output tokens per minute, with whole seconds", () => {
  const headers = {
    ...anthropic("requests", "50", "50", "2026-01-01T00:00:11Z"),
    ...anthropic("input-tokens", "40000", "0", "2026-01-01T00:01:11Z"),
    ...anthropic("output-tokens", "8000", "8000", "2026-01-01T00:00:10Z"),
  };
  expect(stated(headers)).toEqual({ rpm: 50, itpm: 40_000, otpm: 8000 });
});

test("instants are read against the clock that wrote them", () => {
  const headers = {
    date: "Thu, 01 Jan 2026 01:00:00 GMT",
    ...anthropic("requests", "50", "0", "2026-01-01T01:01:00Z"),
  };
  expect(stated(headers)).toEqual({ rpm: 50 });
});

test("resets may be epochs, in seconds or milliseconds, or dates", () => {
  for (const reset of [
    NOW / 1000 + 20,
    NOW + 20_000,
    "2026-01-01T00:00:30Z",
    "Thu, 01 Jan 2026 00:00:30 GMT",
  ])
    expect(stated(openai("requests", "60", "0", String(reset)))).toEqual({ rpm: 60 });
  expect(stated(openai("requests", "14400", "0", String(NOW / 1000 + 86_400)))).toEqual({});
});

test("a limit per day is not taken for one per minute", () => {
  // 10,000 a day: one request comes back after 8.64 s.
  expect(stated(openai("requests", "10000", "9990", "1m26.4s"))).toEqual({});
  expect(stated(openai("requests", "200", "199", "7m12s"))).toEqual({});
  expect(stated(openai("requests", "14400", "0", "24h0m0s"))).toEqual({});
});

test("a minute's fixed window is not taken for a day, however late its reset", () => {
  for (const [remaining, reset] of [
    ["600", "58s"],
    ["599", "58s"],
    ["100", "30s"],
    ["0", "1m0s"],
  ] as const)
    expect(stated(openai("requests", "600", remaining, reset))).toEqual({ rpm: 600 });
});

test("what is no limit is left out, and one without its reset is believed", () => {
  expect(stated({})).toEqual({});
  for (const limit of ["0", "-1", "many", "", "Infinity"])
    expect(stated(openai("requests", limit, "0", "1s"))).toEqual({});
  expect(stated({ "x-ratelimit-limit-requests": "480" })).toEqual({ rpm: 480 });
});
