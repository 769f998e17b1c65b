import { describe, expect, test } from "vitest";
import { z } from "zod";
import { toChatRequest } from "../../src/calls/chat-request.ts";
import { checkOptions, type EnqueueOptions } from "../../src/calls/completion-options.ts";
import { ConfigurationError, defineTool, GlueError, GlueLLM, InputError } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { failureOf } from "../support/provider.ts";

const USER = { role: "user" as const, content: "hello" };
const TEXT = { type: "text", text: "hello" };

function fileOf(bytes: Buffer) {
  return { type: "file", file: { file_data: `data:application/pdf;base64,${bytes.toString("base64")}` } };
}

describe("what becomes of a call's message and options", () => {
  test.each<[string, EnqueueOptions, string | undefined, object]>([
    ["no options", {}, undefined, { messages: [USER] }],
    [
      "parameters in the provider's words",
      {
        maxTokens: 5,
        topP: 0.5,
        temperature: 0,
        stop: ["x"],
        seed: 1,
        frequencyPenalty: 1,
        presencePenalty: 2,
      },
      undefined,
      {
        messages: [USER],
        max_tokens: 5,
        top_p: 0.5,
        temperature: 0,
        stop: ["x"],
        seed: 1,
        frequency_penalty: 1,
        presence_penalty: 2,
      },
    ],
    [
      "extra ones as they are",
      { extra: { logit_bias: {} } },
      undefined,
      { messages: [USER], logit_bias: {} },
    ],
    ["the client's system prompt", {}, "brief", { messages: [{ role: "system", content: "brief" }, USER] }],
    [
      "the call's before it",
      { system: "long" },
      "brief",
      { messages: [{ role: "system", content: "long" }, USER] },
    ],
    ["none when the call says so", { system: "" }, "brief", { messages: [USER] }],
  ])("%s", (_what, options, system, request) => {
    expect(toChatRequest("hello", options, { system })).toEqual(request);
  });

  test("messages with a system prompt of their own keep it", () => {
    const own = [{ role: "system" as const, content: "own" }, USER];
    expect(toChatRequest(own, {}, { system: "brief" }).messages).toEqual(own);
    expect(toChatRequest(own, { system: "first" }, { system: "brief" }).messages).toHaveLength(3);
  });

  test("parts become one user message", () => {
    const parts = [{ type: "image_url", image_url: { url: "https://example.org/a.png" } }];
    expect(toChatRequest(parts, {}, {}).messages).toEqual([{ role: "user", content: parts }]);
  });
});

/** Nothing answers there: a call that asks Redis fails by `redis_unreachable`. */
const settings = loadSettings({ env: { GLUELLM_REDIS_URL: "unix:///nowhere/redis.sock" }, cwd: "/" });

const cycle: Record<string, unknown> = {};
cycle.in = { cycle };

const tool = (name = "t") =>
  defineTool({ name, description: "d", parameters: z.object({}), execute: () => 1 });

describe("refused before Redis is asked", () => {
  const big = "x".repeat(5 * 1024 * 1024);
  test.each<[string, Parameters<GlueLLM["enqueue"]>, { code?: string; message?: RegExp }]>([
    ["an empty prompt", [" \n"], { code: "empty_prompt" }],
    ["no message", [[]], { code: "empty_prompt" }],
    ["only a system prompt", [[{ role: "system", content: "x" }]], { code: "empty_prompt" }],
    ["empty parts", [[{ type: "text", text: "" }]], { code: "empty_prompt" }],
    ["no text at all", [undefined as never], { code: "invalid_input" }],
    ["an unknown role", [[{ role: "robot" as never, content: "x" }]], { message: /messages\.0\.role/ }],
    ["a text of 5 MB", [big], { message: /messages\.0\.content: is longer than 4 MiB/ }],
    ["a part of 5 MB", [[{ type: "text", text: big }]], { message: /longer than 4 MiB/ }],
    ["an unknown provider", ["x", { model: "nobody:gpt" }], { code: "unknown_provider" }],
    ["an unknown model", ["x", { model: "openai:gpt-4o-mnii" }], { code: "unknown_model" }],
    ["an unknown option", ["x", { max_tokens: 5 } as never], { message: /max_tokens/ }],
    ["a parameter out of range", ["x", { temperature: 3 }], { message: /temperature/ }],
    ["a negative priority", ["x", { priority: -1 }], { message: /priority/ }],
    ["a delay that is no number", ["x", { delayMs: Number.NaN }], { message: /delayMs/ }],
    ["an empty idempotency key", ["x", { idempotencyKey: "" }], { message: /idempotencyKey/ }],
    ["another model in extra", ["x", { extra: { model: "m" } }], { message: /extra\.model/ }],
    ["a stream", ["x", { extra: { stream: true } }], { message: /extra\.stream/ }],
    ["no message among messages", [[{ ...USER }, null as never]], { message: /neither a text nor a list/ }],
    ["no part among parts", [[null as never, TEXT]], { message: /messages\.0\.content/ }],
    ["a system prompt of 5 MB", ["x", { system: big }], { message: /messages\.0\.content: is longer/ }],
    ["a file of 21 MB", [[fileOf(Buffer.alloc(16 * 2 ** 20))]], { message: /bytes; the limit is 20971520/ }],
    ["a schema JSON cannot say", ["x", { schema: z.object({ at: z.date() }) }], { code: "invalid_schema" }],
    ["a schema that leads out", ["x", { schema: { $ref: "https://a.org" } }], { code: "invalid_schema" }],
    ["two tools of a name", ["x", { tools: [tool(), tool()] }], { code: "duplicate_tool" }],
    [
      "two for the caller",
      ["x", { tools: [tool(), tool()], executeTools: false }],
      { code: "duplicate_tool" },
    ],
    ["no conversation's id", ["x", { conversation: "a b" }], { message: /"a b" is no conversation's id/ }],
    ["no schema", ["x", { schema: null as never }], { message: /wrong at schema/ }],
    ["a bigint", ["x", { extra: { user: { id: 1n } } }], { message: /user\.id: .*BigInt/ }],
    ["a cycle", ["x", { extra: { cycle } }], { message: /cycle\.in\.cycle: .*circular/ }],
    ["a bigint in a message", [[{ ...USER, id: 1n }]], { message: /messages\.0\.id/ }],
    [
      "129 tools",
      ["x", { tools: Array.from({ length: 129 }, (_, n) => tool(`t${n}`)) }],
      { message: /tools/ },
    ],
    ["tools twice", ["x", { tools: [tool("t")], extra: { tools: [] } }], { message: /extra\.tools/ }],
  ])("%s", async (_what, args, { code, message }) => {
    await using glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
    const error = await failureOf(glue.enqueue(...args));
    expect(error).toBeInstanceOf(GlueError);
    if (code) expect(error).toMatchObject({ code });
    if (message) expect((error as GlueError).message).toMatch(message);
    expect(error).not.toMatchObject({ code: "redis_unreachable" });
  });

  test.each<[string, object, RegExp]>([
    [
      "no base64",
      { image_url: { url: "data:image/png;base64,no base64!" } },
      /image_url\.url: .* holds no base64/,
    ],
    ["base64 cut off", { image_url: { url: "data:image/png;base64,aGk" } }, /holds no base64/],
    ["nothing in a data URL", { image_url: { url: "data:image/png;base64," } }, /holds no base64/],
    ["a data URL without base64", { image_url: { url: "data:image/svg+xml,<svg/>" } }, /is not in base64/],
    ["a path in place of a URL", { image_url: { url: "./cat.png" } }, /neither an address nor base64/],
    [
      "sound that is no base64",
      { input_audio: { data: "la la", format: "wav" } },
      /input_audio\.data: it is neither/,
    ],
    [
      "a file that is no base64",
      { file: { file_data: "data:application/pdf;base64,%PDF" } },
      /file\.file_data: /,
    ],
  ])("%s", async (_what, fields, message) => {
    await using glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
    const [type = ""] = Object.keys(fields);
    const error = await failureOf(glue.complete([TEXT, { type, ...fields }]));
    expect(error).toMatchObject({ code: "invalid_base64", hint: expect.stringMatching(/base64/) });
    expect((error as GlueError).message).toMatch(/wrong at messages\.0\.content\.1\./);
    expect((error as GlueError).message).toMatch(message);
  });

  test.each<[string, object]>([
    ["an address", { image_url: { url: "https://example.org/a.png" } }],
    ["plain base64", { input_audio: { data: "aGk=", format: "wav" } }],
    ["a data URL", { file: { file_data: "data:text/plain;charset=utf-8;base64,aGk=" } }],
    ["an id", { file: { file_id: "file-1" } }],
    ["what only a provider knows", { video_url: { url: "x" } }],
  ])("but not %s in a part", async (_what, fields) => {
    await using glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
    const [type = ""] = Object.keys(fields);
    expect(await failureOf(glue.complete([{ type, ...fields }]))).toMatchObject({
      code: "redis_unreachable",
    });
  });

  test("whichever way the call is made", async () => {
    await using glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
    const empty = { code: "empty_prompt" };
    expect(await failureOf(glue.complete(" "))).toMatchObject(empty);
    expect(await failureOf(glue.structuredComplete(" ", { schema: z.string() }))).toMatchObject(empty);
    expect(await failureOf(glue.conversation().complete(" "))).toMatchObject(empty);
    expect(() => glue.stream(" ")).toThrow("the prompt is empty");
    const unknown = glue.conversation({ id: "conv-00000000-0000-4000-8000-000000000000" });
    expect(await failureOf(unknown.complete("x")), "only Redis knows").toMatchObject({
      code: "redis_unreachable",
    });
  });

  test("a missing key, where this process makes the call", async () => {
    await using local = new GlueLLM({ mode: "local", settings });
    expect(await failureOf(local.complete("x"))).toMatchObject({ code: "missing_key" });
    const stages = (model?: string) => ({
      input: "x",
      stages: [{ name: "one", agent: { name: "one", description: "d", systemPrompt: "s", model } }],
    });
    for (const input of [stages(), stages("anthropic:claude-sonnet-4-5")]) {
      const refused = await failureOf(local.workflows.start("pipeline", input));
      expect(refused).toMatchObject({ code: "missing_key" });
    }
    const keyless = local.workflows.start("pipeline", stages("simulator:m"));
    expect(await failureOf(keyless)).toMatchObject({ code: "redis_unreachable" });
    await using fleet = new GlueLLM({ mode: "fleet", settings });
    const error = await failureOf(fleet.complete("x"));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error, "the workers have the key").toMatchObject({ code: "redis_unreachable" });
    expect(await failureOf(fleet.complete("x")), "the next call tries again").toMatchObject({
      code: "redis_unreachable",
    });
  });

  test("what is no job's id", async () => {
    await using glue = new GlueLLM({ settings });
    expect(() => glue.handle("batch_1-row")).toThrow(InputError);
  });
});

describe("a client's options", () => {
  test.each<[object, RegExp]>([
    [{ tols: [] }, /client's options are wrong: .*"tols"/],
    [{ tools: ["abc"] }, /wrong at tools\.0: must be what defineTool returns/],
    [{ mode: "locl" }, /wrong at mode/],
  ])("%j are refused", (options, message) => {
    expect(() => new GlueLLM({ settings, ...options })).toThrow(message);
    expect(() => new GlueLLM({ settings, ...options })).toThrow(InputError);
  });

  test.each<[object]>([
    [{ maxCostUsd: "1" }],
    [{ maxCostUsd: Number.POSITIVE_INFINITY }],
    [{ tmperature: 1 }],
  ])("a conversation's %j are refused", async (options) => {
    await using glue = new GlueLLM({ settings });
    expect(() => glue.conversation(options)).toThrow(/the conversation's options are wrong/);
  });

  test("a message that is no text is not added to a conversation", async () => {
    await using glue = new GlueLLM({ settings });
    const error = await failureOf(glue.conversation().addMessage("user", 5 as never));
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).message).toMatch(/wrong at content/);
    const long = glue.conversation().addMessage("user", "x".repeat(5 * 1024 * 1024));
    expect(await failureOf(long)).toMatchObject({ message: expect.stringContaining("longer than 4 MiB") });
  });

  test("a structured answer needs a schema", async () => {
    await using glue = new GlueLLM({ settings });
    for (const schema of [null, undefined]) {
      const error = await failureOf(glue.structuredComplete("x", { schema } as never));
      expect(error).toBeInstanceOf(InputError);
    }
  });
});

describe("tools of a call", () => {
  /** Each time another tool of the same name. */
  const codeOf = async (glue: GlueLLM, options: EnqueueOptions = {}) => {
    const error = await failureOf(glue.enqueue("x", { tools: [tool("same")], ...options }));
    return (error as GlueError).code;
  };

  test("are known by their names where this process runs them", async () => {
    await using glue = new GlueLLM({ model: "simulator:test", mode: "local", settings });
    expect(await codeOf(glue)).toBe("redis_unreachable");
    expect(await codeOf(glue)).toBe("duplicate_tool");
  });

  test("are not kept by a process that does not run them", async () => {
    await using fleet = new GlueLLM({ model: "simulator:test", mode: "fleet", settings });
    await using local = new GlueLLM({ model: "simulator:test", mode: "local", settings });
    const byHand = { executeTools: false };
    expect([await codeOf(fleet), await codeOf(fleet)]).not.toContain("duplicate_tool");
    expect([await codeOf(local, byHand), await codeOf(local, byHand)]).not.toContain("duplicate_tool");
  });

  test("are not kept by a call that is refused", async () => {
    await using glue = new GlueLLM({ model: "simulator:test", mode: "local", settings });
    expect(await codeOf(glue, { maxRepairs: 1 })).toBe("invalid_input");
    expect(await codeOf(glue, { tools: [tool("own"), tool("twice"), tool("twice")] })).toBe("duplicate_tool");
    expect(await codeOf(glue, { tools: [tool("same"), tool("own")] })).toBe("redis_unreachable");
  });

  test("leave those of extra alone when there are none to leave to the caller", async () => {
    await using glue = new GlueLLM({ model: "simulator:test", settings });
    const extra = { tools: [{ type: "function", function: { name: "mine" } }] };
    expect(glue.toInput("x", { executeTools: false, extra }).request.tools).toEqual(extra.tools);
    expect(glue.toInput("x", { executeTools: false }).request).not.toHaveProperty("tools");
  });

  test("may answer with nothing", async () => {
    await using glue = new GlueLLM({ model: "simulator:test", settings });
    const answer = { role: "tool" as const, tool_call_id: "a", content: "" };
    expect(glue.toInput([answer], {}).request.messages).toEqual([answer]);
  });
});

test("options keep their values", () => {
  const options = { delayMs: 1, deadlineMs: 2, maxAttempts: 3, priority: 4, idempotencyKey: "k" };
  expect(checkOptions(options)).toEqual(options);
});
