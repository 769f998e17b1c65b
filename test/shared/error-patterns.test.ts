import { expect, test } from "vitest";
import { type Ended, findPatterns } from "../../src/shared/error-patterns.ts";

const of = (count: number, fields: Partial<Ended> = {}): Ended => ({
  ...{ kind: "end", code: "", model: "openai:gpt-4o", tenant: "default", prompt: "short", count },
  ...fields,
});
const calls = (count: number, code: string, fields: Partial<Ended> = {}): Ended[] => [
  of(count, { ...fields, kind: "attempt", code }),
];
const claude = { model: "anthropic:claude" };

test.each<[name: string, counts: Ended[], told: (string | RegExp)[]]>([
  ["nothing where nothing failed", [of(100)], []],
  ["nothing of a few failures", [of(10), ...calls(4, "server_error")], []],
  ["nothing of failures that are a small part", [of(1000), ...calls(20, "server_error")], []],
  [
    "one provider's wave",
    [of(30), ...calls(60, "server_error"), ...calls(10, "timeout"), of(50, claude)],
    ["openai failed 70 % of its calls (server_error 60, timeout 10), while anthropic answered"],
  ],
  [
    "the wave of all providers names no one as the one",
    [...calls(20, "connection"), ...calls(20, "connection", claude)],
    [/^openai failed 100 %[^,]*$/, /^anthropic failed 100 %[^,]*$/],
  ],
  [
    "a key that nobody could use",
    [of(9, claude), ...calls(3, "authentication")],
    ["openai refused its key: authentication 3, and no call succeeded"],
  ],
  [
    "a key that some workers have",
    [of(9), ...calls(3, "authentication")],
    [/some calls \(3\) and took that of others/],
  ],
  ["an empty account", calls(2, "insufficient_quota"), [/account at openai has no credit/]],
  ["an unknown model", calls(1, "model_not_found"), [/does not know openai:gpt-4o/]],
  ["limits", [of(30), ...calls(30, "rate_limit")], [/^openai:gpt-4o answered 429 to 50 % of its calls/]],
  [
    "one tenant's bad requests",
    [
      of(9, { tenant: "red", code: "invalid_request" }),
      of(1, { tenant: "blue", code: "invalid_request" }),
      of(50),
    ],
    ["tenant red sent 9 of the 10 requests that providers refused (invalid_request 9)"],
  ],
  ["the bad requests of the only tenant", [of(9, { code: "invalid_request" }), of(9)], []],
  [
    "bad requests of all",
    [of(5, { tenant: "a", code: "invalid_request" }), of(5, { tenant: "b", code: "invalid_request" })],
    [],
  ],
  [
    "one model's refusals",
    [of(8, { ...claude, code: "content_refused" }), of(20)],
    ["anthropic:claude has 8 of the 8 prompts that were refused"],
  ],
  [
    "time-outs of long prompts alone",
    [of(90), of(2, { prompt: "long" }), ...calls(9, "timeout", { prompt: "long" })],
    ["9 of 9 time-outs were of prompts over 16 KB"],
  ],
  [
    "time-outs where all prompts are long",
    [of(90, { prompt: "long" }), ...calls(9, "timeout", { prompt: "long" })],
    [],
  ],
  ["lost workers", [of(1, { code: "worker_lost" })], [/died or hung with them: 1$/]],
  [
    "what is counted under no name is nobody's",
    [of(9, { tenant: "*", code: "invalid_request" }), of(50)],
    [],
  ],
])("%s", (_, counts, told) => {
  const texts = findPatterns(counts).map(({ text }) => text);
  expect(texts).toEqual(told.map((text) => (typeof text === "string" ? text : expect.stringMatching(text))));
});
