import { join } from "node:path";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import {
  embedMany,
  experimental_getBatchResults,
  experimental_getBatchStatus,
  experimental_listBatches,
  experimental_startBatch,
  generateObject,
  generateText,
  streamText,
} from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { outputOf } from "../support/processes.ts";
import { type ServedApi, serveApi } from "../support/served-api.ts";
import { CLAUDE_MODEL, MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* The calls of the table in docs/api.md, by the vendors' own clients. */

let api: ServedApi;
let openai: OpenAI;
beforeAll(async () => {
  api = await serveApi();
  openai = new OpenAI({ baseURL: api.baseURL, apiKey: api.apiKey, maxRetries: 0 });
});
afterAll(() => api.site[Symbol.asyncDispose]());

const says = (reply: string) => `say it\n#sim ${JSON.stringify({ reply })}`;
const user = (content: string) => [{ role: "user" as const, content }];
const weather = {
  type: "function" as const,
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};
const callsWeather = `the weather\n#sim ${JSON.stringify({ toolCalls: [{ name: "weather", arguments: { city: "Bern" } }] })}`;
const fact = z.object({ name: z.string(), count: z.number() });
const isFact = `a fact\n#sim ${JSON.stringify({ json: { name: "hens", count: 3 } })}`;

describe("openai", () => {
  test("models are listed and found under their ids", async () => {
    const ids = (await Array.fromAsync(openai.models.list())).map(({ id }) => id);
    expect(ids).toContain(MODEL);
    for (const id of ids) expect((await openai.models.retrieve(id)).id).toBe(id);
    await expect(openai.models.retrieve("nobody:knows/it")).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
    });
  });

  test.each([MODEL, CLAUDE_MODEL])("a chat completion of %s", async (model) => {
    const answer = await openai.chat.completions.create({ model, messages: user(says("Four.")) });
    expect(answer).toMatchObject({
      object: "chat.completion",
      choices: [{ index: 0, message: { role: "assistant", content: "Four." }, finish_reason: "stop" }],
    });
    expect(answer._request_id).toMatch(/^req_/);
    expect(answer.usage?.total_tokens).toBeGreaterThan(0);
  });

  test.each([MODEL, CLAUDE_MODEL])("a stream of %s, with its usage when that is asked for", async (model) => {
    const body = { model, messages: user(says("One two three.")), stream: true } as const;
    const stream = await openai.chat.completions.create({ ...body, stream_options: { include_usage: true } });
    const chunks = await Array.fromAsync(stream);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("One two three.");
    expect(chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? [])).toEqual(["stop"]);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: expect.any(Number) } });
    const plain = await Array.fromAsync(await openai.chat.completions.create(body));
    expect(plain.every((chunk) => chunk.choices.length === 1 && !("usage" in chunk))).toBe(true);
  });

  test.each([MODEL, CLAUDE_MODEL])("tool calls of %s, whole and streamed", async (model) => {
    const body = { model, messages: user(callsWeather), tools: [weather] };
    const whole = await openai.chat.completions.create(body);
    const call = {
      function: { name: "weather", arguments: expect.stringMatching(/^\{ *"city": *"Bern" *\}$/) },
    };
    expect(whole.choices[0]).toMatchObject({ finish_reason: "tool_calls", message: { tool_calls: [call] } });
    const streamed = await openai.chat.completions.stream(body).finalChatCompletion();
    expect(streamed.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { tool_calls: [call] },
    });
    const { id = "" } = whole.choices[0]?.message.tool_calls?.[0] ?? {};
    const result = { role: "tool" as const, tool_call_id: id, content: "sunny" };
    const after = await openai.chat.completions.create({
      ...body,
      messages: [...body.messages, whole.choices[0]!.message, result, ...user(says("Sunny."))],
    });
    expect(after.choices[0]?.message.content).toBe("Sunny.");
  });

  test("a parsed answer", async () => {
    const answer = await openai.chat.completions.parse({
      model: MODEL,
      messages: user(isFact),
      response_format: zodResponseFormat(fact, "fact"),
    });
    expect(answer.choices[0]?.message.parsed).toEqual({ name: "hens", count: 3 });
  });

  test("embeddings, as base64 and as numbers", async () => {
    const input = ["one text", "and another"];
    const packed = await openai.embeddings.create({ model: MODEL, input });
    const plain = await openai.embeddings.create({ model: MODEL, input, encoding_format: "float" });
    expect(packed.data).toHaveLength(2);
    expect(packed.data[0]?.embedding).toHaveLength(plain.data[0]?.embedding.length ?? 0);
    expect(packed.data[1]?.embedding[5]).toBeCloseTo(plain.data[1]?.embedding[5] ?? 9, 5);
    expect(plain.usage.prompt_tokens).toBeGreaterThan(0);
  });

  test("an error is the client's own class, with code, param and what to do", async () => {
    const failed = (body: object) =>
      openai.chat.completions.create({ model: MODEL, messages: user("hello"), ...body } as never).then(
        () => "no error",
        (error) => error,
      );
    expect(await failed({ model: "nobody:x" })).toMatchObject({
      status: 404,
      code: "unknown_provider",
      param: "model",
    });
    expect(await failed({ messages: [] })).toMatchObject({ status: 400, param: "messages" });
    expect(await failed({ temperature: "hot" })).toMatchObject({ status: 400, param: "temperature" });
    expect(await failed({ messages: user("") })).toMatchObject({ status: 400, param: "messages" });
    expect(await failed({ model: CLAUDE_MODEL, n: 3 })).toMatchObject({
      status: 400,
      param: "n",
      code: "unsupported_parameter",
    });
    expect(await failed({ model: CLAUDE_MODEL, logit_bias: { 1: 2 } })).toMatchObject({
      param: "logit_bias",
    });
    expect(await failed({ stream: true, n: 2 })).toMatchObject({ status: 400, param: "n" });
    const wrong = new OpenAI({ baseURL: api.baseURL, apiKey: "sk-wrong", maxRetries: 0 });
    await expect(wrong.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
  });
});

describe("Vercel AI SDK", () => {
  const compatible = () =>
    createOpenAICompatible({
      name: "gluellm",
      baseURL: api.baseURL,
      apiKey: api.apiKey,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
  const provider = () => createOpenAI({ baseURL: api.baseURL, apiKey: api.apiKey });
  const models = {
    "@ai-sdk/openai-compatible": () => compatible()(MODEL),
    "@ai-sdk/openai, chat": () => provider().chat(MODEL),
    "@ai-sdk/openai, responses": () => provider()(MODEL),
    "@ai-sdk/openai, responses, of Anthropic's dialect": () => provider()(CLAUDE_MODEL),
  };

  test.each(Object.entries(models))("%s: generateText, streamText, generateObject", async (_, modelOf) => {
    const model = modelOf();
    const { text, usage } = await generateText({ model, prompt: says("Four."), maxRetries: 0 });
    expect([text, (usage.totalTokens ?? 0) > 0]).toEqual(["Four.", true]);
    const stream = streamText({ model, prompt: says("One two."), maxRetries: 0 });
    expect((await Array.fromAsync(stream.textStream)).join("")).toBe("One two.");
    expect((await stream.usage).totalTokens).toBeGreaterThan(0);
    const { object } = await generateObject({ model, schema: fact, prompt: isFact, maxRetries: 0 });
    expect(object).toEqual({ name: "hens", count: 3 });
  });

  test("embedMany", async () => {
    const model = provider().embedding(MODEL);
    const { embeddings } = await embedMany({ model, values: ["one", "two"], maxRetries: 0 });
    expect(embeddings.map(({ length }) => length > 0)).toEqual([true, true]);
  });

  test("experimental_startBatch, its status and results, listed too", async () => {
    const openai = provider();
    const requests = ["Four.", "Five."].map((reply, n) => ({
      ...{ type: "text" as const, id: `row-${n}`, model: MODEL, prompt: says(reply) },
    }));
    const batch = await experimental_startBatch({ provider: openai, requests });
    const asked = { provider: openai, batch };
    await waitFor("the end", async () => (await experimental_getBatchStatus(asked)).status === "completed");
    const results = await Array.fromAsync(experimental_getBatchResults(asked));
    expect(results).toMatchObject([
      { id: "row-0", status: "succeeded", text: "Four." },
      { id: "row-1", status: "succeeded", text: "Five." },
    ]);
    const { batches } = await experimental_listBatches({ provider: openai });
    expect(batches).toHaveLength(1);
  });
});

test("LangChain.js: ChatOpenAI, whole and streamed, and OpenAIEmbeddings", async () => {
  const options = {
    model: MODEL,
    apiKey: api.apiKey,
    configuration: { baseURL: api.baseURL },
    maxRetries: 0,
  };
  const chat = new ChatOpenAI(options);
  const answer = await chat.invoke(says("Four."));
  expect([answer.text, (answer.usage_metadata?.total_tokens ?? 0) > 0]).toEqual(["Four.", true]);
  const chunks = await Array.fromAsync(await chat.stream(says("One two.")));
  expect(chunks.map(({ text }) => text).join("")).toBe("One two.");
  expect(await chat.withStructuredOutput(fact).invoke(isFact)).toEqual({ name: "hens", count: 3 });
  expect(await new OpenAIEmbeddings(options).embedDocuments(["one", "two"])).toHaveLength(2);
});

test("the example asks by OpenAI's client", async () => {
  const example = join(import.meta.dirname, "../../examples/api.ts");
  const env = { OPENAI_BASE_URL: api.baseURL, OPENAI_API_KEY: api.apiKey };
  const lines = (await outputOf(process.execPath, [example, MODEL], { env })).trimEnd().split("\n");
  expect(lines).toEqual([expect.stringContaining("[simulated]"), expect.stringContaining("[simulated]")]);
});

test("curl: a chat completion, and a stream that ends with [DONE]", async () => {
  const curl = (body: object) =>
    outputOf("curl", [
      ...["-sN", `${api.baseURL}/chat/completions`, "-H", `Authorization: Bearer ${api.apiKey}`],
      ...[
        "-H",
        "Content-Type: application/json",
        "-d",
        JSON.stringify({ model: MODEL, messages: user(says("Four.")), ...body }),
      ],
    ]);
  expect(JSON.parse(await curl({})).choices[0].message.content).toBe("Four.");
  const lines = (await curl({ stream: true })).trimEnd().split("\n\n");
  expect(lines.at(-1)).toBe("data: [DONE]");
  expect(lines.slice(0, -1).every((line) => line.startsWith("data: {") || line.startsWith(":"))).toBe(true);
});
