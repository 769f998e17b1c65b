import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ServedApi, serveApi } from "../support/served-api.ts";
import { CLAUDE_MODEL, MODEL, NATIVE_MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

let api: ServedApi;
let anthropic: Anthropic;
const clientOf = (baseURL: string, apiKey: string, maxRetries = 0) =>
  new Anthropic({ baseURL: baseURL.replace(/\/v1$/, ""), apiKey, maxRetries });
beforeAll(async () => {
  api = await serveApi();
  anthropic = clientOf(api.baseURL, api.apiKey);
});
afterAll(() => api.site[Symbol.asyncDispose]());

const user = (content: string) => [{ role: "user" as const, content }];
const says = (reply: string) => user(`say it\n#sim ${JSON.stringify({ reply })}`);
const tools: Anthropic.Tool[] = [
  { name: "weather", input_schema: { type: "object", properties: { city: { type: "string" } } } },
];
const callsWeather = user(
  `the weather\n#sim ${JSON.stringify({ toolCalls: [{ name: "weather", arguments: { city: "Bern" } }] })}`,
);
const max_tokens = 100;

describe.each([MODEL, CLAUDE_MODEL, NATIVE_MODEL])("%s", (model) => {
  test("a message has the fields that clients read", async () => {
    const { _request_id, ...message } = await anthropic.messages.create({
      model,
      max_tokens,
      system: [{ type: "text", text: "be brief", cache_control: { type: "ephemeral" } }],
      messages: says("Four."),
      // The Responses API has no word for it.
      ...(model !== NATIVE_MODEL && { stop_sequences: ["never"] }),
      metadata: { user_id: "u" },
    });
    expect(_request_id).toMatch(/^req_/);
    expect(message).toMatchObject({
      id: expect.stringMatching(/^msg_/),
      type: "message",
      role: "assistant",
      content: [{ type: "text", text: "Four." }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: {
        input_tokens: expect.any(Number),
        output_tokens: expect.any(Number),
        cache_read_input_tokens: expect.any(Number),
        cache_creation_input_tokens: expect.any(Number),
      },
    });
    expect(message.usage.input_tokens).toBeGreaterThan(0);
  });

  test("its events come in order and add up to the message", async () => {
    const stream = anthropic.messages.stream({ model, max_tokens, messages: says("One two three.") });
    const events = await Array.fromAsync(stream);
    const types = events.map(({ type }) => type);
    expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
      "message_start",
      "content_block_start",
      "content_block_delta",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    const message = await stream.finalMessage();
    expect(message.content).toMatchObject([{ type: "text", text: "One two three." }]);
    expect(message.stop_reason).toBe("end_turn");
    expect(message.usage.input_tokens).toBeGreaterThan(0);
    expect(message.usage.output_tokens).toBeGreaterThan(0);
  });

  test("tools, whole and streamed, and their results", async () => {
    const body = { model, max_tokens, tools, messages: callsWeather };
    const whole = await anthropic.messages.create({ ...body, tool_choice: { type: "any" } });
    const streamed = await anthropic.messages.stream(body).finalMessage();
    for (const message of [whole, streamed]) {
      expect(message.stop_reason).toBe("tool_use");
      expect(message.content.at(-1)).toMatchObject({
        type: "tool_use",
        name: "weather",
        input: { city: "Bern" },
      });
    }
    const called = streamed.content.at(-1) as Anthropic.ToolUseBlock;
    const result = {
      type: "tool_result" as const,
      tool_use_id: called.id,
      is_error: true,
      content: "no net",
    };
    const text = { type: "text" as const, text: says("Sunny.")[0]?.content ?? "" };
    const after = await anthropic.messages.create({
      ...body,
      messages: [
        ...body.messages,
        { role: "assistant", content: streamed.content },
        { role: "user", content: [result, text] },
      ],
    });
    expect(after.content).toMatchObject([{ type: "text", text: "Sunny." }]);
  });

  test("an answer that was cut at max_tokens says so", async () => {
    const message = await anthropic.messages.create({ model, max_tokens: 1, messages: says("a b c d e f") });
    expect(message.stop_reason).toBe("max_tokens");
  });
});

test("errors are the client's own classes, in whole and in streamed calls", async () => {
  const failed = (body: object, client = anthropic) =>
    client.messages.create({ model: MODEL, max_tokens, messages: user("hello"), ...body } as never).then(
      (message) => message,
      (error) => error,
    );
  const unknown = await failed({ model: "nobody:x" });
  expect(unknown).toBeInstanceOf(Anthropic.NotFoundError);
  expect(unknown).toMatchObject({
    status: 404,
    requestID: expect.stringMatching(/^req_/),
    error: { type: "error", error: { type: "not_found_error", message: expect.stringContaining("nobody") } },
  });
  for (const [body, named] of [
    [{ thinking: { type: "enabled", budget_tokens: 2000 } }, "thinking"],
    [{ top_k: 3 }, "top_k"],
    [{ stream: true, top_k: 3 }, "top_k"],
    [{ tools: [{ type: "web_search_20250305", name: "web_search" }] }, "tools.0.type"],
    [{ max_tokens: -1 }, "max_tokens"],
    [{ max_tokens: undefined }, "max_tokens"],
    [{ messages: [] }, "messages"],
    [{ messages: [{ role: "user", content: [{ type: "text", text: 3 }] }] }, "messages.0.content.0.text"],
    [{ temperature: "hot" }, "temperature"],
  ] as const) {
    const error = await failed(body);
    expect(error, named).toBeInstanceOf(Anthropic.BadRequestError);
    expect(error.error.error).toMatchObject({
      type: "invalid_request_error",
      message: expect.stringContaining(named),
    });
  }
  expect(await failed({ thinking: { type: "disabled" } })).toMatchObject({ type: "message" });
  const wrong = clientOf(api.baseURL, "sk-wrong");
  expect(await failed({}, wrong)).toBeInstanceOf(Anthropic.AuthenticationError);
  await expect(wrong.models.list()).rejects.toMatchObject({
    error: { error: { type: "authentication_error" } },
  });
});

test("a key works as bearer, too, and pages are read to the end of the models", async () => {
  const bearer = new Anthropic({
    baseURL: api.baseURL.replace(/\/v1$/, ""),
    apiKey: null,
    authToken: api.apiKey,
    maxRetries: 0,
  });
  const ids = (await Array.fromAsync(bearer.models.list({ limit: 2 }))).map(({ id }) => id);
  expect(ids).toContain(MODEL);
  expect(new Set(ids).size).toBe(ids.length);
  expect((await Array.fromAsync(bearer.models.list())).map(({ id }) => id)).toEqual(ids);
  expect(await bearer.models.retrieve(CLAUDE_MODEL)).toMatchObject({ type: "model", id: CLAUDE_MODEL });
  const { input_tokens } = await bearer.messages.countTokens({
    model: MODEL,
    messages: says("Four."),
    tools,
  });
  expect(input_tokens).toBeGreaterThan(0);
});

test("a batch of messages: its states, and a result for each request", async () => {
  const { batches } = anthropic.messages;
  const requests = [MODEL, CLAUDE_MODEL].map((model, n) => ({
    custom_id: `row-${n}`,
    params: { model, max_tokens, messages: says(`answer ${n}`) },
  }));
  const refused = {
    custom_id: "refused",
    params: { model: MODEL, max_tokens, messages: user('no\n#sim {"unknown": 1}') },
  };
  const asked = { requests: [...requests, refused] };
  const options = { headers: { "idempotency-key": "this batch" } };
  const made = await batches.create(asked, options);
  expect((await batches.create(asked, options)).id).toBe(made.id);
  expect(made).toMatchObject({ type: "message_batch", processing_status: "in_progress", results_url: null });
  let batch = made;
  await waitFor("the end of the batch", async () => {
    batch = await batches.retrieve(made.id);
    return batch.processing_status === "ended";
  });
  expect(batch.request_counts).toEqual({ processing: 0, succeeded: 2, errored: 1, canceled: 0, expired: 0 });
  const results = await Array.fromAsync(await batches.results(made.id));
  const succeeded = (n: number) => ({
    custom_id: `row-${n}`,
    result: {
      type: "succeeded",
      message: { type: "message", content: [{ type: "text", text: `answer ${n}` }] },
    },
  });
  expect(results).toMatchObject([
    succeeded(0),
    succeeded(1),
    { custom_id: "refused", result: { type: "errored", error: { type: "error" } } },
  ]);
  const others = [];
  for (const name of ["a", "b", "c"])
    others.push((await batches.create({ requests: [{ ...requests[0]!, custom_id: name }] })).id);
  const all = [...others].reverse().concat(made.id);
  const listed = async (query: object) => (await Array.fromAsync(batches.list(query))).map(({ id }) => id);
  expect((await listed({ limit: 1 })).slice(0, 4)).toEqual(all);
  expect(await listed({ limit: 2, before_id: made.id })).toEqual([others[1], others[0], others[2]]);
  const page = await batches.list({ limit: 2, before_id: made.id });
  expect([page.data.map(({ id }) => id), page.has_more, page.first_id]).toEqual([
    [others[1], others[0]],
    true,
    others[1],
  ]);
  await expect(batches.list({ before_id: made.id, after_id: made.id })).rejects.toMatchObject({
    status: 400,
  });
  expect(await batches.delete(made.id)).toEqual({ id: made.id, type: "message_batch_deleted" });
  await expect(batches.retrieve(made.id)).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  await expect(batches.delete(made.id)).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  expect(await listed({})).not.toContain(made.id);
  await expect(batches.retrieve("msgbatch_none")).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  await expect(batches.create({ requests: [requests[0]!, requests[0]!] })).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining("requests[1]"),
  });
});

test("results hold what an answer says, line separators too; without their file they are not there", async () => {
  const { batches } = anthropic.messages;
  const separated = user('say it\n#sim {"reply":"one\\u2028two\\u2029three"}');
  const params = { model: MODEL, max_tokens, messages: separated };
  const { id } = await batches.create({ requests: [{ custom_id: "separated", params }] });
  await waitFor(
    "the end of the batch",
    async () => (await batches.retrieve(id)).processing_status === "ended",
  );
  expect(await Array.fromAsync(await batches.results(id))).toMatchObject([
    { custom_id: "separated", result: { message: { content: [{ text: "one\u2028two\u2029three" }] } } },
  ]);
  const headers = { authorization: `Bearer ${api.apiKey}` };
  const told = await fetch(`${api.baseURL}/batches/${id}`, { headers });
  const { output_file_id: file } = (await told.json()) as { output_file_id: string };
  await fetch(`${api.baseURL}/files/${file}`, { method: "DELETE", headers });
  await expect(batches.results(id)).rejects.toBeInstanceOf(Anthropic.NotFoundError);
});

test("the same request twice at once is one batch with one input", async () => {
  const params = { model: MODEL, max_tokens, messages: says("once") };
  const create = () =>
    anthropic.messages.batches.create(
      { requests: [{ custom_id: "once", params }] },
      { headers: { "idempotency-key": "twice at once" } },
    );
  const ids = (await Promise.all([create(), create(), create()])).map(({ id }) => id);
  expect(new Set(ids).size).toBe(1);
  const listed = await fetch(`${api.baseURL}/files?purpose=batch`, {
    headers: { authorization: `Bearer ${api.apiKey}` },
  });
  const { data } = (await listed.json()) as { data: { filename: string }[] };
  expect(data.filter(({ filename }) => filename === `${ids[0]}.jsonl`)).toHaveLength(1);
});

test("a silent stream has a ping after a second; an error after it is an event, which clients throw", async () => {
  const slow = (sim: object) => ({
    model: MODEL,
    max_tokens,
    messages: user(`slowly\n#sim ${JSON.stringify({ latencyMs: 1500, ...sim })}`),
  });
  const failing = anthropic.messages.stream(slow({ error: "400", errorTimes: 9 })).finalMessage();
  const failed = failing.then(
    () => "no error",
    (error) => error,
  );
  const response = await fetch(`${api.baseURL}/messages`, {
    method: "POST",
    headers: { "x-api-key": api.apiKey, "content-type": "application/json" },
    body: JSON.stringify({ ...slow({ reply: "Four." }), stream: true }),
  });
  expect(await response.text()).toContain('event: ping\ndata: {"type":"ping"}\n\n');
  expect(await failed).toBeInstanceOf(Anthropic.APIError);
  expect(await failed).toMatchObject({ error: { error: { type: "invalid_request_error" } } });
});
