import { describe, expect, test } from "vitest";
import { toCompletionInput } from "../../src/calls/completion-input.ts";
import type { EnqueueOptions } from "../../src/calls/completion-options.ts";
import { GlueLLM, InputError } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { ProviderOptions } from "../../src/shared/wire-options.ts";
import { askedDigest } from "../../src/store/idempotency.ts";
import { failureOf } from "../support/provider.ts";

const settings = loadSettings({ env: {}, cwd: "/" });
const REFUSED_HEADERS = [
  ..."Authorization api-key x-api-key X-Goog-Api-Key x-auth-token cookie set-cookie host content-length".split(
    " ",
  ),
  ..."content-type transfer-encoding connection upgrade proxy-authorization x-forwarded-for te expect".split(
    " ",
  ),
  ..."x-client-request-id cf-aig-authorization helicone-auth x-portkey-api-key openai_api_key x-amz-security-token".split(
    " ",
  ),
  "a b",
  "",
];

function inputOf(options: EnqueueOptions, providerOptions?: ProviderOptions) {
  const model = "openai:gpt-4o-mini";
  return toCompletionInput("x", options, { settings, model, keyNeeded: false, providerOptions });
}

describe("refused before Redis is asked", () => {
  test.each<[string, Parameters<GlueLLM["enqueue"]>, { message: RegExp }]>([
    [
      "options of no provider",
      ["x", { providerOptions: { opnai: {} } }],
      { message: /providerOptions\.opnai: there is no provider entry or dialect/ },
    ],
    [
      "options that are the request's",
      ["x", { providerOptions: { openai: { messages: [] } } }],
      { message: /providerOptions\.openai\.messages: the request sets it/ },
    ],
    [
      "options for Anthropic that are the request's",
      ["x", { providerOptions: { anthropic: { system: "x" } } }],
      { message: /providerOptions\.anthropic\.system/ },
    ],
    [
      "options that JSON cannot hold",
      ["x", { providerOptions: { openai: { at: 1n } } }],
      { message: /providerOptions\.openai\.at: .*BigInt/ },
    ],
    [
      "options without an end",
      ["x", { providerOptions: { openai: { text: "x".repeat(70_000) } } }],
      { message: /the limit is 65536/ },
    ],
    [
      "options that are no object",
      ["x", { providerOptions: { openai: 1 } as never }],
      { message: /providerOptions/ },
    ],
    [
      "headers to several providers",
      ["x", { model: ["openai:gpt-4o", "anthropic:claude-sonnet-4-5"], headers: { "x-a": "b" } }],
      { message: /wrong at headers: .*several providers/ },
    ],
    ...REFUSED_HEADERS.map((name): [string, Parameters<GlueLLM["enqueue"]>, { message: RegExp }] => [
      `the header ${name}`,
      ["x", { headers: { [name]: "b" } }],
      { message: /wrong at headers/ },
    ]),
    ["a header of two lines", ["x", { headers: { "x-a": "b\r\nx-c: d" } }], { message: /printable ASCII/ }],
    ["a header twice", ["x", { headers: { "x-a": "b", "X-A": "c" } }], { message: /a name twice/ }],
    ["a long header", ["x", { headers: { "x-a": "b".repeat(5000) } }], { message: /wrong at headers/ }],
    [
      "33 headers",
      ["x", { headers: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`x-${n}`, "b"])) }],
      { message: /more than 32/ },
    ],
    ["a parameter that is none", ["x", { query: { "a b": "c" } }], { message: /wrong at query/ }],
    ["a base URL", ["x", { baseURL: "https://x.example" } as never], { message: /baseURL/ }],
    ["a fetch", ["x", { fetch } as never], { message: /fetch/ }],
  ])("%s", async (_what, args, { message }) => {
    await using glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
    const error = await failureOf(glue.enqueue(...args));
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).message).toMatch(message);
  });
});

test("options of a call are added to the client's, and come before them", () => {
  const own = { openai: { store: true }, xai: { a: 1 } };
  const { wire } = inputOf({ providerOptions: own }, { openai: { store: false, user: "u" } });
  expect(wire).toEqual({ providerOptions: { openai: { store: true, user: "u" }, xai: { a: 1 } } });
  expect(inputOf({}).wire).toBeUndefined();
});

test("a request that says no more than before has the digest that it had; any word more is another request", () => {
  const digestOf = (options: EnqueueOptions) => askedDigest({ ...inputOf(options), conversation: undefined });
  const plain = digestOf({});
  expect(plain).toBe("d28c1f201dfb07b29ab6edeed0ffff8ad6e78693ed67e74f4e475b2c5be720e2");
  const others = [
    digestOf({ headers: { "x-a": "b" } }),
    digestOf({ query: { a: "b" } }),
    digestOf({ providerOptions: { openai: { store: true } } }),
    digestOf({ providerOptions: { openai: { store: false } } }),
  ];
  expect(new Set([plain, ...others]).size).toBe(5);
});
