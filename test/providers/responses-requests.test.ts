import { describe, expect, it, test } from "vitest";
import type { ChatRequest, Message } from "../../src/shared/chat.ts";
import { type Body, judged, refusal } from "../support/judged.ts";
import { failureOf } from "../support/provider.ts";
import { refusedByResponses } from "../support/strict-history.ts";

const call = (id: string, args = "{}") => ({
  id,
  type: "function" as const,
  function: { name: "f", arguments: args },
});
const reasoning = { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "secret" };
const ENCRYPTED = "reasoning.encrypted_content";

const strict = (changes: Parameters<typeof judged>[2] = {}) =>
  judged("responses", refusal(refusedByResponses), changes);

describe("a chat request as a Responses call", () => {
  it("has the words of Responses, and stores nothing at the provider", async () => {
    const { ask, bodies, server } = await strict();
    const parameters = { type: "object", properties: {} };
    await ask({
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", name: "ada", content: "x" },
      ],
      max_tokens: 50,
      temperature: 0.5,
      reasoning_effort: "low",
      verbosity: "low",
      response_format: { type: "json_schema", json_schema: { name: "a", strict: true, schema: parameters } },
      tools: [
        { type: "function", function: { name: "f", parameters } },
        { type: "function", function: { name: "g", strict: true } },
      ],
      tool_choice: { type: "function", function: { name: "f" } },
      parallel_tool_calls: false,
      user: "u",
      n: 1,
      frequency_penalty: 0,
      stop: null,
    });
    expect(server.requests[0]?.path).toBe("/v1/responses");
    expect(bodies[0]).toEqual({
      model: "gpt-4o-mini",
      input: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "ada: x" },
      ],
      max_output_tokens: 50,
      temperature: 0.5,
      reasoning: { effort: "low" },
      text: {
        format: { type: "json_schema", name: "a", strict: true, schema: parameters },
        verbosity: "low",
      },
      tools: [
        { type: "function", name: "f", parameters, strict: false },
        { type: "function", name: "g", strict: true },
      ],
      tool_choice: { type: "function", name: "f" },
      parallel_tool_calls: false,
      user: "u",
      include: [ENCRYPTED],
      store: false,
    });
  });

  test.each<[string, Partial<ChatRequest>, object]>([
    ["max_completion_tokens", { max_completion_tokens: 5, max_tokens: 9 }, { max_output_tokens: 5 }],
    [
      "JSON of any form",
      { response_format: { type: "json_object" } },
      { text: { format: { type: "json_object" } } },
    ],
    ["storing", { store: true }, { store: true }],
    [
      "logprobs",
      { logprobs: true, top_logprobs: 2 },
      { include: [ENCRYPTED, "message.output_text.logprobs"], top_logprobs: 2 },
    ],
    ["parameters that are not known", { truncation: "auto" }, { truncation: "auto" }],
    [
      "a choice among tools",
      {
        tools: [{ type: "function", function: { name: "f" } }],
        tool_choice: {
          type: "allowed_tools",
          allowed_tools: { mode: "auto", tools: [{ type: "function", function: { name: "f" } }] },
        },
      },
      { tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "f" }] } },
    ],
  ])("%s", async (_, parameters, sent) => {
    const { ask, bodies } = await strict();
    await ask(parameters);
    expect(bodies[0]).toMatchObject(sent);
  });

  test.each([
    ["n", 2],
    ["stop", ["x"]],
    ["seed", 7],
    ["frequency_penalty", 0.5],
    ["logit_bias", { 1: 2 }],
    ["modalities", ["text", "audio"]],
  ])("%s is refused before anything is sent, unless the entry leaves it out", async (name, value) => {
    const { ask, bodies } = await strict();
    const error = await failureOf(ask({ [name]: value }));
    expect(error).toMatchObject({ code: "unsupported_parameter", message: expect.stringContaining(name) });
    expect(bodies).toEqual([]);
    const lenient = await strict({ dropParameters: [name] });
    await lenient.ask({ [name]: value });
    expect(lenient.bodies[0]).not.toHaveProperty(name);
  });

  it("has an empty list of tools, and a choice among none, left out", async () => {
    const { ask, bodies } = await strict();
    await ask({ tools: [], tool_choice: "auto" });
    expect(Object.keys(bodies[0])).not.toContain("tools");
    expect(Object.keys(bodies[0])).not.toContain("tool_choice");
  });

  it("takes the provider's own words beside its own", async () => {
    const { ask, bodies } = await strict();
    const own = {
      reasoning: { summary: "auto" },
      tools: [{ type: "web_search" }],
      include: ["web_search_call.action.sources"],
      instructions: "Be kind.",
    };
    const tools = [{ type: "function", function: { name: "f" } }];
    await ask({ reasoning_effort: "high", tools }, { wire: { providerOptions: { openai: own } } });
    expect(bodies[0]).toMatchObject({
      reasoning: { effort: "high", summary: "auto" },
      tools: [{ name: "f" }, { type: "web_search" }],
      include: ["web_search_call.action.sources", ENCRYPTED],
      instructions: "Be kind.",
    });
  });

  it("turns parts, calls and results into items; parts of answered messages that it cannot take into words", async () => {
    const { ask, bodies } = await strict();
    const sound = { type: "input_audio", input_audio: { data: "aGk=", format: "wav" } };
    await ask({
      messages: [
        { role: "user", content: [{ type: "text", text: "hear" }, sound] },
        {
          role: "assistant",
          content: [{ type: "text", text: "I call." }],
          tool_calls: [call("a b"), call("c", "{bad")],
        },
        { role: "tool", tool_call_id: "a b", content: [{ type: "text", text: "1" }] },
        { role: "tool", tool_call_id: "nobody", content: "orphan" },
        {
          role: "user",
          content: [{ type: "image_url", image_url: { url: "https://a.test/b.png", detail: "low" } }],
        },
      ],
    });
    const [heard, said, first, second, result, notRun, orphan, seen] = bodies[0].input;
    expect(heard.content).toEqual([
      { type: "input_text", text: "hear" },
      { type: "input_text", text: "[a part of the type input_audio, which is not shown here]" },
    ]);
    expect(said).toEqual({ role: "assistant", content: [{ type: "output_text", text: "I call." }] });
    expect(first).toEqual({
      type: "function_call",
      call_id: expect.stringMatching(/^\w+$/),
      name: "f",
      arguments: "{}",
    });
    expect(second).toEqual({ type: "function_call", call_id: "c", name: "f", arguments: "{}" });
    expect(result).toEqual({
      type: "function_call_output",
      call_id: first.call_id,
      output: [{ type: "input_text", text: "1" }],
    });
    expect(notRun).toMatchObject({ call_id: "c", output: expect.stringContaining("not run") });
    expect(orphan).toMatchObject({ role: "user", content: expect.stringContaining("orphan") });
    expect(seen.content).toEqual([{ type: "input_image", image_url: "https://a.test/b.png", detail: "low" }]);
  });

  it("is a call of Chat Completions for models that the entry does not name", async () => {
    const { ask, server } = await judged("openai", () => undefined, {
      api: { "gpt-5*": "responses", "o3*": "responses" },
    });
    for (const model of ["gpt-5-mini", "o3", "gpt-4o"]) await Promise.allSettled([ask({}, { model })]);
    expect(server.requests.map(({ path }) => path)).toEqual([
      "/v1/responses",
      "/v1/responses",
      "/v1/chat/completions",
    ]);
  });
});

describe("what Responses wants back of an answer", () => {
  const items = [
    reasoning,
    { type: "message", phase: "final_answer" },
    { type: "function_call", namespace: "n" },
  ];
  const answer = (more: object): Message[] => [
    { role: "user", content: "x" },
    { role: "assistant", content: "so", tool_calls: [call("a"), call("b")], ...more },
    { role: "tool", tool_call_id: "a", content: "1" },
    { role: "tool", tool_call_id: "b", content: "2" },
  ];
  const kept = (entry: string) => ({ vendor_state: { [entry]: { message: { response_items: items } } } });

  test.each([
    ["of its entry's conversations", kept("responses-test")],
    ["of answers that the caller gives back", { response_items: items, reasoning: "hm" }],
  ])("goes back in its place: %s", async (_, more) => {
    const { ask, bodies } = await strict();
    await ask({ messages: answer(more) });
    const made = { type: "function_call", name: "f", arguments: "{}" };
    expect(bodies[0].input.slice(1, 5)).toEqual([
      reasoning,
      { type: "message", role: "assistant", phase: "final_answer", content: "so" },
      { ...made, call_id: "a", namespace: "n" },
      { ...made, call_id: "b" },
    ]);
  });

  it("stays away from other entries, and from Chat Completions of its own", async () => {
    const other = await strict({ name: "other" });
    await other.ask({ messages: answer(kept("responses-test")) });
    const chat = await judged("openai", () => undefined, { name: "responses-test" });
    await chat.ask({ messages: answer({ ...kept("responses-test"), response_items: items }) });
    expect(JSON.stringify([other.bodies, chat.bodies])).not.toMatch(/secret|response_items|final_answer/);
  });

  it("is left out when it is refused, as that of another account", async () => {
    const { ask, bodies } = await judged("responses", (body) =>
      body.input.some(({ type }: Body) => type === "reasoning")
        ? {
            message: "The encrypted content for item rs_1 could not be verified.",
            code: "invalid_encrypted_content",
          }
        : undefined,
    );
    await ask({ messages: answer(kept("responses-test")) });
    expect(bodies).toHaveLength(2);
    expect(JSON.stringify(bodies[1])).not.toContain("secret");
    expect(bodies[1].include).toEqual([ENCRYPTED]);
  });

  it("is not asked for where the model has none, which is learned once", async () => {
    const { ask, bodies } = await judged("responses", (body) =>
      body.include
        ? { message: "Encrypted content is not supported with this model.", param: "include" }
        : undefined,
    );
    await ask({});
    await ask({});
    expect(bodies.map(({ include }) => include)).toEqual([[ENCRYPTED], undefined, undefined]);
    const openai = await judged("responses", () => undefined, { name: "openai" });
    await openai.ask({});
    expect(openai.bodies[0]).not.toHaveProperty("include");
  });
});
