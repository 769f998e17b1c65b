import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { makeKey } from "../support/api.ts";
import { testStore } from "../support/redis.ts";
import { type ServedApi, serveApi } from "../support/served-api.ts";
import { CLAUDE_MODEL, MODEL, NATIVE_MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const MODELS = [MODEL, CLAUDE_MODEL, NATIVE_MODEL];
let api: ServedApi;
let openai: OpenAI;
beforeAll(async () => {
  api = await serveApi();
  openai = new OpenAI({ baseURL: api.baseURL, apiKey: api.apiKey, maxRetries: 0 });
});
afterAll(() => api.site[Symbol.asyncDispose]());

const says = (reply: string) => `say it\n#sim ${JSON.stringify({ reply })}`;
const weather = {
  type: "function" as const,
  name: "weather",
  strict: false,
  parameters: { type: "object", properties: { city: { type: "string" } } },
};
const callsWeather = `the weather\n#sim ${JSON.stringify({ toolCalls: [{ name: "weather", arguments: { city: "Bern" } }] })}`;

describe.each(MODELS)("%s", (model) => {
  test("a response has the fields that clients read", async () => {
    const { output_text, _request_id, ...response } = await openai.responses.create({
      model,
      input: says("Four."),
      instructions: "be brief",
      metadata: { a: "b" },
    });
    expect(output_text).toBe("Four.");
    expect(response).toMatchObject({
      id: expect.stringMatching(/^resp_[0-9a-f-]{36}$/),
      object: "response",
      status: "completed",
      created_at: expect.any(Number),
      instructions: "be brief",
      metadata: { a: "b" },
      output: [
        {
          type: "message",
          id: expect.stringMatching(/^msg_/),
          role: "assistant",
          content: [{ type: "output_text", text: "Four.", annotations: [], logprobs: [] }],
        },
      ],
      usage: {
        input_tokens_details: { cached_tokens: expect.any(Number), cache_write_tokens: expect.any(Number) },
        output_tokens_details: { reasoning_tokens: expect.any(Number) },
        total_tokens: expect.any(Number),
      },
    });
  });

  test("its events come in order, numbered, and add up to the response", async () => {
    const stream = await openai.responses.create({ model, input: says("One two three."), stream: true });
    const events = await Array.fromAsync(stream);
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, n) => n));
    const types = events.map(({ type }) => type).filter((type, n, all) => type !== all[n - 1]);
    expect(types).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    const deltas = events.flatMap((event) =>
      event.type === "response.output_text.delta" ? event.delta : [],
    );
    expect(deltas.join("")).toBe("One two three.");
    const [added, last] = [events[2], events.at(-1)];
    if (added?.type !== "response.output_item.added" || last?.type !== "response.completed")
      throw new Error("other events");
    expect(last.response.output[0]).toMatchObject({
      id: added.item.id,
      content: [{ text: "One two three." }],
    });
  });

  test("a tool is called, and the next response goes on with its result", async () => {
    const body = { model, tools: [weather] };
    const first = await openai.responses.create({ ...body, input: callsWeather });
    const call = first.output.find((item) => item.type === "function_call");
    expect(call).toMatchObject({
      name: "weather",
      id: expect.stringMatching(/^fc_/),
      call_id: expect.any(String),
    });
    expect(JSON.parse(call?.arguments ?? "")).toEqual({ city: "Bern" });
    const streamed = await openai.responses.stream({ ...body, input: callsWeather }).finalResponse();
    expect(streamed.output.find((item) => item.type === "function_call")?.arguments).toBe(call?.arguments);
    const next = await openai.responses.create({
      ...body,
      previous_response_id: first.id,
      input: [
        { type: "function_call_output", call_id: call?.call_id ?? "", output: "sunny" },
        { role: "user", content: says("Sunny.") },
      ],
    });
    expect(next.output_text).toBe("Sunny.");
    const seen = api.site.simulator.journal.entries().at(-1);
    expect(seen?.turn, "the call and its result were in the request").toBeGreaterThan(0);
    const last = await openai.responses.create({ model, previous_response_id: next.id, input: says("Yes.") });
    expect([last.output_text, last.previous_response_id]).toEqual(["Yes.", next.id]);
    const named = await openai.responses.create({
      ...body,
      input: [
        { type: "item_reference", id: call?.id ?? "" },
        { type: "function_call_output", call_id: call?.call_id ?? "", output: "rainy" },
        { type: "item_reference", id: next.output.at(-1)?.id ?? "" },
        { type: "item_reference", id: next.output.at(-1)?.id ?? "" },
        { role: "user", content: says("Rainy.") },
      ],
    });
    expect(named.output_text).toBe("Rainy.");
    expect(api.site.simulator.journal.entries().at(-1)?.turn, "so was what was named").toBeGreaterThan(0);
  });

  test("in the background it is polled, found again, listed with its input, and deleted", async () => {
    const made = await openai.responses.create({ model, input: says("Later."), background: true });
    expect(["queued", "in_progress", "completed"]).toContain(made.status);
    const done = await waitFor("the answer", async () => {
      const now = await openai.responses.retrieve(made.id);
      return now.status === "completed" ? now : undefined;
    });
    expect(done).toMatchObject({ output_text: "Later." });
    const replay = await Array.fromAsync(
      await openai.responses.retrieve(made.id, { stream: true, starting_after: 1 }),
    );
    expect([replay[0]?.sequence_number, replay.at(-1)?.type]).toEqual([2, "response.completed"]);
    const items = await Array.fromAsync(openai.responses.inputItems.list(made.id));
    expect(items).toMatchObject([{ type: "message", role: "user", content: [{ type: "input_text" }] }]);
    await openai.responses.delete(made.id);
    await expect(openai.responses.retrieve(made.id)).rejects.toMatchObject({ status: 404 });
  });
});

test("a response in the background is cancelled; its job makes no call", async () => {
  const input = `wait\n#sim ${JSON.stringify({ reply: "too late", latencyMs: 600_000 })}`;
  const { id } = await openai.responses.create({ model: MODEL, input, background: true });
  expect((await openai.responses.cancel(id)).status).toBe("cancelled");
  expect((await openai.responses.retrieve(id)).status).toBe("cancelled");
  const plain = await openai.responses.create({ model: MODEL, input: says("x") });
  await expect(openai.responses.cancel(plain.id)).rejects.toMatchObject({ status: 400 });
});

test("a provider's refusal is an error, in a stream the response's own end, in the background its state", async () => {
  const input = `refuse\n#sim ${JSON.stringify({ error: "400" })}`;
  await expect(openai.responses.create({ model: MODEL, input })).rejects.toMatchObject({ status: 400 });
  // Within the first second it has a status of its own; later it stands in the stream.
  await expect(openai.responses.create({ model: MODEL, input, stream: true })).rejects.toMatchObject({
    status: 400,
  });
  // Once the stream has begun, with a comment after a second, an error stands in it.
  const slow = `slow\n#sim ${JSON.stringify({ reply: "too late", latencyMs: 600_000 })}`;
  const body = { model: MODEL, input: slow, stream: true, background: true } as const;
  const { data: stream, response } = await openai.responses.create(body).withResponse();
  await openai.responses.cancel(`resp_${response.headers.get("x-gluellm-job-id")?.slice("job-".length)}`);
  await expect(Array.fromAsync(stream)).rejects.toMatchObject({ code: "cancelled" });
  const { id } = await openai.responses.create({ model: MODEL, input, background: true });
  const failed = await waitFor("its end", async () => {
    const now = await openai.responses.retrieve(id);
    return now.status === "failed" ? now : undefined;
  });
  expect(failed).toMatchObject({ error: { code: "invalid_request" } });
});

test("another tenant's response is not there", async () => {
  const { id } = await openai.responses.create({ model: MODEL, input: says("mine") });
  const { token } = await makeKey(testStore(api.site.namespace), { tenant: "other" });
  const other = new OpenAI({ baseURL: api.baseURL, apiKey: token, maxRetries: 0 });
  for (const ask of [
    () => other.responses.retrieve(id),
    () => other.responses.retrieve(id, { stream: true }),
    () => other.responses.cancel(id),
    () => other.responses.delete(id),
    () => other.responses.inputItems.list(id).asResponse(),
    () => other.responses.create({ model: MODEL, input: "go on", previous_response_id: id }),
    () =>
      other.responses.create({
        model: MODEL,
        input: [{ type: "item_reference", id: id.replace("resp_", "msg_") }],
      }),
    () => openai.responses.retrieve("resp_00000000-0000-0000-0000-000000000000"),
    () => openai.responses.retrieve("../../etc"),
  ])
    await expect(ask() as Promise<unknown>).rejects.toMatchObject({ status: 404 });
  expect((await openai.responses.retrieve(id)).output_text).toBe("mine");
});

test.each([
  [{ tools: [{ type: "web_search" }] }, "tools[0]"],
  [{ truncation: "auto" }, "truncation"],
  [{ input: [{ type: "computer_call_output" }] }, "input[0]"],
  [{ background: true, store: false }, "background"],
  [{ input: 5 }, "input"],
  [{ input: [] }, "input"],
  [{ previous_response_id: 7 }, "previous_response_id"],
])("what Anthropic's models cannot be asked is a 400 that names it: %j", async (body, param) => {
  const asked = { model: CLAUDE_MODEL, input: "hello", ...body };
  await expect(openai.responses.create(asked as never)).rejects.toMatchObject({ status: 400, param });
});
