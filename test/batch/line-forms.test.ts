import { describe, expect, test } from "vitest";
import type { BatchRow } from "../../src/batch/row-reader.ts";
import { readAll, writeInput } from "./files-fixture.ts";

const user = (content: unknown) => ({ role: "user", content });
const post = (url: string, body: object) => ({
  custom_id: "c",
  method: "POST",
  url,
  body: { model: "m", ...body },
});

/** By a model whose server has no Responses API, unless `hasResponses` says so. */
async function onlyRow(line: object, hasResponses = false): Promise<BatchRow> {
  const { rows } = await readAll(writeInput([line]), {
    strict: true,
    speaks: (_, form) => hasResponses && form === "responses",
  });
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

const requestOf = async (line: object) => (await onlyRow(line)).request;

describe("lines of public batch files", () => {
  test.each([
    "/chat/completions",
    "/v4/chat/completions",
    "/v1/chat/completions/",
    "/openai/deployments/x/chat/completions?api-version=2025-01-01",
    "https://api.openai.com/v1/chat/completions",
  ])("the url %s", async (url) => {
    expect(await onlyRow(post(url, { messages: [user("x")] }))).toMatchObject({
      endpoint: "chat",
      customId: "c",
      model: { model: "m" },
      request: { messages: [user("x")] },
    });
  });

  test("embeddings: a text or several", async () => {
    const row = await onlyRow(
      post("/v1/embeddings", { input: "x", dimensions: 8, encoding_format: "base64", user: "u" }),
    );
    expect(row.endpoint).toBe("embeddings");
    const embedding = { dimensions: 8, encoding_format: "base64", user: "u" };
    expect(row.request).toEqual({ messages: [user("x")], embedding });
    const ids = [
      [3, 17, 4],
      [5, 1],
    ];
    const asTokens = { messages: [user("[3 tokens]"), user("[2 tokens]")], embedding: { tokens: ids } };
    expect(await requestOf(post("/v1/embeddings", { input: ids }))).toEqual(asTokens);
    expect((await requestOf(post("/v1/embeddings", { input: ids[0] }))).embedding).toEqual({
      tokens: [ids[0]],
    });
    expect(await requestOf(post("/v1/embeddings", { input: ["x", "y"] }))).toEqual({
      messages: [user("x"), user("y")],
      embedding: {},
    });
  });

  test("responses: the body as it is, where the server has that API", async () => {
    const body = {
      input: [
        user("first"),
        user([{ type: "input_text", text: "last" }]),
        { type: "item_reference", id: "i" },
      ],
      tools: [{ type: "web_search", user_location: null }],
      previous_response_id: "r",
      max_output_tokens: 9,
      temperature: 0,
    };
    const row = await onlyRow(post("/v1/responses", body), true);
    expect(row.endpoint).toBe("responses");
    expect(row.request).toEqual({
      messages: [user("last")],
      max_completion_tokens: 9,
      temperature: 0,
      responses: body,
    });
    for (const name of ["stream", "background"]) {
      const wrong = onlyRow(post("/v1/responses", { input: "x", [name]: true }), true);
      await expect(wrong).rejects.toThrow(`body.${name} is true`);
    }
  });

  test("responses: what a chat request can say", async () => {
    const line = post("/v1/responses", {
      instructions: "be brief",
      input: [
        user("x"),
        {
          type: "message",
          id: "msg_1",
          status: "completed",
          role: "assistant",
          content: [{ type: "output_text", text: "y", annotations: [] }],
        },
        { type: "function_call", id: "fc_1", call_id: "call_1", name: "f", arguments: "{}" },
        { type: "function_call_output", call_id: "call_1", output: "z" },
        user([
          { type: "input_text", text: "w" },
          { type: "input_image", image_url: "https://x/y.png", detail: "low" },
        ]),
      ],
      max_output_tokens: 9,
      text: {
        format: { type: "json_schema", name: "n", schema: { type: "object" }, strict: true },
        verbosity: "low",
      },
      reasoning: { effort: "low", summary: null },
      tools: [{ type: "function", name: "f", parameters: {}, strict: true }],
      tool_choice: { type: "function", name: "f" },
      stream: false,
      truncation: "disabled",
      temperature: 0.5,
      metadata: { a: "b" },
    });
    expect(await onlyRow(line)).toMatchObject({ endpoint: "responses" });
    expect(await requestOf(line)).toEqual({
      messages: [
        { role: "system", content: "be brief" },
        user("x"),
        { role: "assistant", content: [{ type: "text", text: "y" }] },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "call_1", type: "function", function: { name: "f", arguments: "{}" } }],
        },
        { role: "tool", tool_call_id: "call_1", content: "z" },
        user([
          { type: "text", text: "w" },
          { type: "image_url", image_url: { url: "https://x/y.png", detail: "low" } },
        ]),
      ],
      max_completion_tokens: 9,
      response_format: {
        type: "json_schema",
        json_schema: { name: "n", schema: { type: "object" }, strict: true },
      },
      verbosity: "low",
      reasoning_effort: "low",
      tools: [{ type: "function", function: { name: "f", parameters: {}, strict: true } }],
      tool_choice: { type: "function", function: { name: "f" } },
      temperature: 0.5,
      metadata: { a: "b" },
    });
  });

  test("Anthropic's", async () => {
    const params = {
      model: "m",
      max_tokens: 9,
      system: [{ type: "text", text: "s", cache_control: { type: "ephemeral" } }],
      messages: [
        user([
          { type: "text", text: "x" },
          { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
        ]),
        { role: "assistant", content: [{ type: "tool_use", id: "t", name: "f", input: { a: 1 } }] },
        user([
          { type: "tool_result", tool_use_id: "t", content: "r" },
          { type: "text", text: "go on" },
        ]),
      ],
      tools: [{ name: "f", description: "d", input_schema: { type: "object" } }],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
      stop_sequences: ["END"],
      metadata: { user_id: "u" },
    };
    expect(await requestOf({ custom_id: "c", params })).toEqual({
      messages: [
        { role: "system", content: [{ type: "text", text: "s", cache_control: { type: "ephemeral" } }] },
        user([
          { type: "text", text: "x" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
        ]),
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "t", type: "function", function: { name: "f", arguments: '{"a":1}' } }],
        },
        { role: "tool", tool_call_id: "t", content: "r" },
        user([{ type: "text", text: "go on" }]),
      ],
      max_tokens: 9,
      stop: ["END"],
      tools: [
        { type: "function", function: { name: "f", description: "d", parameters: { type: "object" } } },
      ],
      tool_choice: "required",
      parallel_tool_calls: false,
      user: "u",
    });
  });

  test("Gemini's, in both spellings", async () => {
    const request = {
      system_instruction: { parts: [{ text: "s" }] },
      contents: [
        { role: "user", parts: [{ text: "x" }, { inlineData: { mimeType: "image/png", data: "AAAA" } }] },
        { role: "model", parts: [{ functionCall: { name: "f", args: { a: 1 } } }] },
        { role: "user", parts: [{ functionResponse: { name: "f", response: { b: 2 } } }] },
      ],
      generationConfig: {
        maxOutputTokens: 9,
        topP: 0.5,
        response_mime_type: "application/json",
        responseSchema: { type: "OBJECT" },
      },
      tools: [{ functionDeclarations: [{ name: "f", parameters: { type: "OBJECT" } }] }],
    };
    const { customId, request: asked } = await onlyRow({ key: "k", request });
    expect(customId).toBe("k");
    expect(asked).toEqual({
      messages: [
        { role: "system", content: [{ type: "text", text: "s" }] },
        user([
          { type: "text", text: "x" },
          { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
        ]),
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "f", type: "function", function: { name: "f", arguments: '{"a":1}' } }],
        },
        { role: "tool", tool_call_id: "f", content: '{"b":2}' },
      ],
      top_p: 0.5,
      max_tokens: 9,
      response_format: { type: "json_schema", json_schema: { name: "answer", schema: { type: "object" } } },
      tools: [{ type: "function", function: { name: "f", parameters: { type: "object" } } }],
    });
  });

  test.each([
    ["body.previous_response_id", post("/v1/responses", { input: "x", previous_response_id: "r" })],
    [
      "body.tools.0 of the type web_search",
      post("/v1/responses", { input: "x", tools: [{ type: "web_search" }] }),
    ],
    ["body.input.0 of the type reasoning", post("/v1/responses", { input: [{ type: "reasoning" }] })],
    ["body.reasoning.summary", post("/v1/responses", { input: "x", reasoning: { summary: "auto" } })],
    ["params.thinking", { params: { messages: [user("x")], max_tokens: 1, thinking: { type: "enabled" } } }],
    [
      "params.messages.0.content.0 of the type thinking",
      { params: { messages: [user([{ type: "thinking" }])], max_tokens: 1 } },
    ],
    ["request.safetySettings", { request: { contents: [], safetySettings: [{}] } }],
    ["request.generationConfig.topK", { request: { contents: [], generationConfig: { topK: 1 } } }],
    ["request.tools.0.googleSearch", { request: { contents: [], tools: [{ googleSearch: {} }] } }],
  ])("what has no counterpart is refused by its name: %s", async (name, line) => {
    await expect(onlyRow(line)).rejects.toMatchObject({
      code: "cannot_translate",
      message: expect.stringContaining(`${name} has no counterpart`),
    });
  });
});
