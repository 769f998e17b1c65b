import { expect, it } from "vitest";
import type { Dialect } from "../../src/shared/providers.ts";
import { callOf, errorBody, failureOf, goodBody, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";

interface Case {
  what: string;
  dialect?: Dialect;
  status?: number;
  headers?: Record<string, string>;
  /** The dialect's error object; or, as `body`, everything. */
  error?: Record<string, unknown>;
  body?: unknown;
  becomes: Record<string, unknown>;
}

const CASES: Case[] = [
  {
    what: "a 429 with milliseconds, seconds and resets: the milliseconds win",
    status: 429,
    headers: { "retry-after-ms": "1250", "retry-after": "9", "x-ratelimit-remaining-tokens": "0" },
    error: { type: "tokens", code: "rate_limit_exceeded" },
    becomes: { name: "RateLimitError", retryAfterMs: 1250, status: 429 },
  },
  {
    what: "a 429 with OpenAI's resets only: that of the spent limit",
    status: 429,
    headers: {
      "x-ratelimit-remaining-requests": "12",
      "x-ratelimit-reset-requests": "1h0m0s",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "6m0s",
    },
    error: { code: "rate_limit_exceeded" },
    becomes: { name: "RateLimitError", retryAfterMs: 360_000 },
  },
  {
    what: "a 429 with Anthropic's resets only, by the server's clock",
    dialect: "anthropic",
    status: 429,
    headers: {
      date: "Thu, 01 Jan 2026 00:00:00 GMT",
      "anthropic-ratelimit-input-tokens-remaining": "0",
      "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:42Z",
      "anthropic-ratelimit-requests-remaining": "3",
      "anthropic-ratelimit-requests-reset": "2026-01-01T01:00:00Z",
    },
    error: { type: "rate_limit_error" },
    becomes: { name: "RateLimitError", retryAfterMs: 42_000 },
  },
  {
    what: "a 429 that names no time",
    status: 429,
    error: { code: "rate_limit_exceeded" },
    becomes: { name: "RateLimitError", retryAfterMs: undefined },
  },
  {
    what: "a 429 with the page of a proxy",
    status: 429,
    body: "<html>slow down</html>",
    becomes: { name: "RateLimitError" },
  },
  {
    what: "Google's 429, a list with the time in its details",
    status: 429,
    body: [
      {
        error: {
          code: 429,
          message: "You exceeded your current quota",
          status: "RESOURCE_EXHAUSTED",
          details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34s" }],
        },
      },
    ],
    becomes: { name: "RateLimitError", retryAfterMs: 34_000 },
  },
  {
    what: "a request larger than a minute's budget: it would be refused for ever",
    status: 429,
    error: { code: "rate_limit_exceeded", message: "Request too large for gpt-4o on tokens per min (TPM)" },
    becomes: { name: "TokenLimitError", code: "request_too_large" },
  },
  {
    what: "OpenAI's used-up quota",
    status: 429,
    headers: { "retry-after": "1" },
    error: { type: "insufficient_quota", code: "insufficient_quota" },
    becomes: { name: "AccountError", code: "insufficient_quota" },
  },
  { what: "402", status: 402, error: {}, becomes: { name: "AccountError", code: "insufficient_quota" } },
  {
    what: "Anthropic's used-up credit, a 400 that only its text tells apart",
    dialect: "anthropic",
    status: 400,
    error: { type: "invalid_request_error", message: "Your credit balance is too low to access the API." },
    becomes: { name: "AccountError", code: "insufficient_quota" },
  },
  {
    what: "Anthropic's spending limit",
    dialect: "anthropic",
    status: 403,
    error: { type: "permission_error", details: { error_code: "contract_spend_limit_reached" } },
    becomes: { name: "AccountError", code: "insufficient_quota" },
  },
  {
    what: "an overload, with its time",
    dialect: "anthropic",
    status: 529,
    headers: { "retry-after": "7" },
    error: { type: "overloaded_error" },
    becomes: { name: "OverloadedError", retryAfterMs: 7000 },
  },
  {
    what: "Google's refused key, a 400",
    status: 400,
    body: [{ error: { code: 400, message: "API key not valid.", status: "INVALID_ARGUMENT" } }],
    becomes: { name: "AuthenticationError", hint: expect.stringContaining("TEST_PROVIDER_API_KEY") },
  },
  {
    what: "xAI's refused key, a 400 with bare text",
    status: 400,
    body: { code: "Client specified an invalid argument", error: "Incorrect API key provided: sk***" },
    becomes: { name: "AuthenticationError" },
  },
  {
    what: "OpenRouter's moderation, a 403 that is not about the key",
    status: 403,
    error: { code: 403, metadata: { reasons: ["violence"], flagged_input: "…" } },
    becomes: { name: "InvalidRequestError", code: "content_refused" },
  },
  {
    what: "OpenRouter's unknown model, a 400",
    status: 400,
    error: { code: 400, message: "acme/none is not a valid model ID" },
    becomes: { name: "AccountError", code: "model_not_found" },
  },
  {
    what: "a wrong path",
    status: 404,
    body: "<html>not found</html>",
    becomes: { name: "AccountError", code: "model_not_found", hint: expect.stringContaining("base URL") },
  },
  {
    what: "a prompt that quotes the text of another fault",
    dialect: "anthropic",
    status: 400,
    error: { type: "invalid_request_error", message: "bad text: 'prompt is too long', said the clerk" },
    becomes: { name: "InvalidRequestError", code: "invalid_request" },
  },
  {
    what: "xAI's overflow, by its text",
    status: 400,
    body: { code: "x", error: "This model's maximum prompt length is 131072 but the request contains 1e6" },
    becomes: { name: "TokenLimitError", code: "context_length_exceeded" },
  },
  {
    what: "OpenAI's blamed parameter",
    status: 400,
    error: { type: "invalid_request_error", code: "unsupported_value", param: "messages[0].role" },
    becomes: { name: "InvalidRequestError", message: expect.stringContaining("messages[0].role") },
  },
  {
    what: "Anthropic's blamed parameter, named in its text only",
    dialect: "anthropic",
    status: 400,
    error: { type: "invalid_request_error", message: "max_tokens: 9000 > 8192, which is the maximum" },
    becomes: { name: "InvalidRequestError", hint: "correct or leave out max_tokens" },
  },
  { what: "413", status: 413, error: {}, becomes: { name: "InvalidRequestError", status: 413 } },
  { what: "422", status: 422, error: {}, becomes: { name: "InvalidRequestError", status: 422 } },
  { what: "408", status: 408, error: {}, becomes: { name: "APIConnectionError", code: "timeout" } },
  { what: "409", status: 409, error: {}, becomes: { name: "APIConnectionError", code: "server_error" } },
  {
    what: "a 500 that says not to retry",
    status: 500,
    headers: { "x-should-retry": "false" },
    error: { type: "server_error" },
    becomes: { name: "APIConnectionError", code: "server_error" },
  },
  {
    what: "a 503 with its time",
    status: 503,
    headers: { "retry-after": "3" },
    error: {},
    becomes: { name: "APIConnectionError", retryAfterMs: 3000 },
  },
  {
    what: "a 502 page",
    status: 502,
    body: "<html>bad gateway</html>",
    becomes: { name: "APIConnectionError", code: "server_error", status: 502 },
  },
  {
    what: "OpenRouter's refusal inside a 200",
    status: 200,
    error: { code: 429, message: "Provider returned error" },
    becomes: { name: "RateLimitError", status: 429 },
  },
  {
    what: "OpenRouter's fault inside a choice",
    status: 200,
    body: { ...goodBody("openai"), choices: [{ message: {}, error: { code: 502, message: "gone" } }] },
    becomes: { name: "APIConnectionError", code: "server_error", status: 502 },
  },
  {
    what: "a code, type and parameter that are no plain words",
    status: 400,
    error: { code: "A secret prompt", type: "A secret prompt", param: "A secret prompt" },
    becomes: { name: "InvalidRequestError", message: "openai-test answered 400: it refuses the request" },
  },
];

it.each(CASES)("$what → $becomes.name", async (row) => {
  const { dialect = "openai", status, headers, error, body, becomes } = row;
  const server = await wireServer((response) =>
    sendJson(response, body ?? errorBody(dialect, { message: "A secret prompt", ...error }), status, headers),
  );
  const adapter = testAdapter(testEntry(dialect, server.url));
  const failure = await failureOf(adapter.complete(callOf(dialect, "A secret prompt")));
  expect(failure).toMatchObject(becomes);
  expect(JSON.stringify(failure) + String(failure)).not.toContain("secret");
  expect(server.requests).toHaveLength(1);
});

it.each([
  ["openai", "x-request-id"],
  ["anthropic", "request-id"],
] as const)("names %s's request id, in replies and in errors", async (dialect, header) => {
  let status = 200;
  const server = await wireServer((response) =>
    sendJson(response, status === 200 ? goodBody(dialect) : {}, status, { [header]: "req_42" }),
  );
  const adapter = testAdapter(testEntry(dialect, server.url));
  expect(await adapter.complete(callOf(dialect, "Hello"))).toMatchObject({ requestId: "req_42" });
  status = 500;
  const error = await failureOf(adapter.complete(callOf(dialect, "Hello")));
  expect(error).toMatchObject({ providerRequestId: "req_42" });
});
