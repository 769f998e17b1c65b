import { describe, expect, it } from "vitest";
import type { Dialect, ProviderEntry } from "../../src/shared/providers.ts";
import { Secret } from "../../src/shared/secret.ts";
import { type Body, type Judge, judged, refusal } from "../support/judged.ts";
import { failureOf, goodBody, TEST_KEY } from "../support/provider.ts";
import { refusedByMessages } from "../support/strict-history.ts";

const UNSUPPORTED = {
  message:
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
  param: "max_tokens",
  code: "unsupported_parameter",
};

describe("the longest answer", () => {
  it.each<[string, Partial<ProviderEntry>, string]>([
    ["gpt-4o-mini", { name: "openai" }, "max_tokens"],
    ["gpt-5", { name: "openai" }, "max_completion_tokens"],
    ["gpt-5.1-mini", { name: "openai" }, "max_completion_tokens"],
    ["o1", { name: "openai" }, "max_completion_tokens"],
    ["o3-mini", { name: "openai" }, "max_completion_tokens"],
    ["o4-mini-2025-04-16", { name: "openai" }, "max_completion_tokens"],
    ["ft:o4-mini:acme::1", { name: "openai" }, "max_completion_tokens"],
    ["gpt-5", {}, "max_tokens"],
    ["qwen3", { maxTokensField: "max_completion_tokens" }, "max_completion_tokens"],
    ["gpt-5", { name: "openai", maxTokensField: "max_tokens" }, "max_tokens"],
  ])("of %s at %o is %s", async (model, entry, field) => {
    const { ask, bodies } = await judged("openai", () => undefined, entry);
    await ask({ max_tokens: 7 }, { model });
    expect(Object.keys(bodies[0]).filter((name) => name.includes("tokens"))).toEqual([field]);
    expect(bodies[0][field]).toBe(7);
  });

  it("is called as the server says, in the same attempt, and from then on", async () => {
    const { ask, bodies } = await judged("openai", (body) => (body.max_tokens ? UNSUPPORTED : undefined));
    await ask({ max_tokens: 7 });
    await ask({ max_tokens: 8 });
    await ask({ max_tokens: 9 }, { model: "another" });
    expect(bodies.map((body) => body.max_tokens ?? -body.max_completion_tokens)).toEqual([7, -7, -8, 9, -9]);
  });

  it("is called the other way where the server does not know the new word", async () => {
    const unknown = { message: "Extra inputs are not permitted: max_completion_tokens" };
    const { ask, bodies } = await judged("openai", (body) =>
      body.max_completion_tokens ? unknown : undefined,
    );
    await ask({ max_completion_tokens: 7 });
    expect(bodies.at(-1)).toMatchObject({ max_tokens: 7 });
  });

  it("that no word is right for is asked for once each", async () => {
    const both = (body: Body) =>
      body.max_tokens ? UNSUPPORTED : { message: "Unknown parameter: 'max_completion_tokens'." };
    const { ask, bodies } = await judged("openai", both);
    expect(await failureOf(ask({ max_tokens: 7 }))).toMatchObject({ name: "InvalidRequestError" });
    expect(bodies.length).toBeLessThanOrEqual(3);
  });
});

describe("a parameter that the model refuses", () => {
  const refused = {
    message: "Unsupported value: 'temperature'",
    param: "temperature",
    code: "unsupported_value",
  };
  const judge: Judge = ({ temperature }) => (temperature === undefined ? undefined : refused);

  it("is named, and the call may go on with another model", async () => {
    const { ask, bodies } = await judged("openai", judge);
    expect(await failureOf(ask({ temperature: 0.5 }))).toMatchObject({
      code: "unsupported_parameter",
      message: expect.stringContaining("temperature"),
      hint: expect.stringContaining("dropParameters"),
    });
    expect(bodies).toHaveLength(1);
  });

  it.each<Dialect>(["openai", "anthropic"])("is left out where the entry says so: %s", async (dialect) => {
    const { ask, bodies } = await judged(dialect, judge, { dropParameters: ["temperature", "seed"] });
    await ask({ temperature: 0.5, seed: 1, top_p: 0.5 });
    expect(bodies[0]).toMatchObject({ top_p: 0.5 });
    expect(bodies[0]).not.toHaveProperty("seed");
  });

  it("is none when the list of tools is empty", async () => {
    const { ask, bodies } = await judged("openai", () => undefined);
    await ask({ tools: [], tool_choice: "none" });
    expect(Object.keys(bodies[0])).toEqual(["messages", "model"]);
  });
});

describe("provider options", () => {
  const providerOptions = {
    openai: { service_tier: "flex" },
    anthropic: { thinking: { type: "enabled", budget_tokens: 5000 }, betas: ["a-1", "b-2"], top_k: 5 },
    "openai-test": { prompt_cache_key: "k" },
  };

  it("of the entry's name come before those of its dialect, and of others none are sent", async () => {
    const named = await judged("openai", () => undefined);
    await named.ask({}, { wire: { providerOptions } });
    expect(named.bodies[0]).toMatchObject({ prompt_cache_key: "k" });
    expect(named.bodies[0]).not.toHaveProperty("service_tier");
    const other = await judged("openai", () => undefined, { name: "other" });
    await other.ask({}, { wire: { providerOptions } });
    expect(Object.keys(other.bodies[0])).toEqual(["messages", "service_tier", "model"]);
  });

  it("reach Anthropic in its own words: thinking with room for it, betas as a header", async () => {
    const { ask, bodies, server } = await judged("anthropic", refusal(refusedByMessages));
    await ask({}, { wire: { providerOptions, headers: { "Anthropic-Beta": "c-3" } } });
    expect(bodies[0]).toMatchObject({ thinking: { budget_tokens: 5000 }, top_k: 5, max_tokens: 9096 });
    expect(bodies[0]).not.toHaveProperty("betas");
    expect(server.requests[0]?.headers["anthropic-beta"]).toBe("c-3,a-1,b-2");
  });
});

describe("headers and query", () => {
  it.each<Dialect>(["openai", "anthropic"])(
    "are those of the call, else of the entry: %s",
    async (dialect) => {
      const { ask, server } = await judged(dialect, () => undefined, {
        headers: { "x-a": new Secret("entry"), "x-b": new Secret("entry") },
        query: { "api-version": "1", region: "eu" },
      });
      await ask({}, { wire: { headers: { "X-B": "call" }, query: { "api-version": "2" } } });
      const [request] = server.requests;
      expect(request?.headers).toMatchObject({
        "x-a": "entry",
        "x-b": "call",
        authorization: `Bearer ${TEST_KEY}`,
      });
      expect(new URL(request?.path ?? "", server.url).search).toBe("?api-version=2&region=eu");
    },
  );

  it("may carry the key in another header", async () => {
    const { ask, server } = await judged("openai", () => undefined, { keyHeader: "api-key" });
    await ask({});
    expect(server.requests[0]?.headers).toMatchObject({ "api-key": TEST_KEY });
    expect(server.requests[0]?.headers.authorization).toBeUndefined();
  });

  it("go with the entry's own fetch", async () => {
    const urls: string[] = [];
    const { ask } = await judged("openai", () => undefined, {
      fetch: async (url, init) => {
        urls.push(String(url));
        expect(new Headers(init?.headers).get("authorization")).toBe(`Bearer ${TEST_KEY}`);
        return Response.json(goodBody("openai"));
      },
    });
    expect((await ask({})).body.choices[0]?.message.content).toBe("Four.");
    expect(urls).toEqual([expect.stringMatching(/\/v1\/chat\/completions$/)]);
  });
});

describe("marks for prompt caching", () => {
  const mark = { type: "ephemeral" };
  const request = {
    messages: [
      { role: "system" as const, content: "manual", cache_control: mark },
      {
        role: "user" as const,
        content: [{ type: "text", text: "x", cache_control: { ...mark, ttl: "1h" } }],
      },
      {
        role: "assistant" as const,
        content: null,
        tool_calls: [{ id: "a", type: "function" as const, function: { name: "f", arguments: "{}" } }],
      },
      { role: "tool" as const, tool_call_id: "a", content: "1", cache_control: mark },
    ],
    tools: [{ type: "function", function: { name: "f" }, cache_control: mark }],
  };

  it("reach Anthropic where they stand", async () => {
    const { ask, bodies } = await judged("anthropic", refusal(refusedByMessages));
    await ask(request);
    expect(bodies[0]).toMatchObject({
      system: [{ text: "manual", cache_control: mark }],
      tools: [{ name: "f", cache_control: mark }],
    });
    const blocks = bodies[0].messages.flatMap(({ content }: Body) => content);
    expect(blocks.map((block: Body) => block.cache_control)).toEqual([
      { ...mark, ttl: "1h" },
      undefined,
      mark,
    ]);
  });

  it("are sent, left out or refused in OpenAI's dialect, as the entry says", async () => {
    const marks = (body: Body) => JSON.stringify(body).split("cache_control").length - 1;
    for (const [cacheControl, count] of [
      ["send", 4],
      ["leaveOut", 0],
      [undefined, 0],
    ] as const) {
      const { ask, bodies } = await judged("openai", () => undefined, { cacheControl });
      await ask(request);
      expect(marks(bodies[0])).toBe(count);
    }
    const { ask, bodies } = await judged("openai", () => undefined, { cacheControl: "refuse" });
    expect(await failureOf(ask(request))).toMatchObject({
      code: "unsupported_parameter",
      message: expect.stringContaining("messages[0].cache_control"),
    });
    expect(bodies).toEqual([]);
  });
});
