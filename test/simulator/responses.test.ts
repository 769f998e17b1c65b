import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { collect, post, type SimulatedProvider, simulatedProvider } from "../support/simulated-provider.ts";

let provider: SimulatedProvider;
beforeAll(async () => {
  provider = await simulatedProvider();
});
afterAll(() => provider[Symbol.asyncDispose]());

const asked = (body: object) => ({ model: "demo", ...body });
const tool = {
  type: "function" as const,
  name: "add",
  strict: false,
  parameters: { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
};

describe("OpenAI's SDK asks for responses", () => {
  it("and gets a text with its usage, whole and as a stream of numbered events", async () => {
    const request = asked({ input: 'hi\n#sim {"reply": "Hello you there."}' });
    const response = await provider.openai.responses.create(request);
    expect(response).toMatchObject({ status: "completed", output_text: "Hello you there.", error: null });
    expect(response.usage?.total_tokens).toBeGreaterThan(0);
    const events = await collect(await provider.openai.responses.create({ ...request, stream: true }));
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, n) => n));
    const texts = events.map((event) => (event.type === "response.output_text.delta" ? event.delta : ""));
    expect(texts.join("")).toBe("Hello you there.");
    const last = events.at(-1);
    expect(last).toMatchObject({
      type: "response.completed",
      response: { output: [{ content: [{ text: "Hello you there." }] }] },
    });
  });

  it("and gets the SDK's own helpers served: a stream that is put together", async () => {
    const stream = provider.openai.responses.stream(
      asked({ input: "hi", tools: [tool], tool_choice: "required" }),
    );
    expect((await stream.finalResponse()).output).toMatchObject([{ type: "function_call", name: "add" }]);
  });

  it("and carries a tool call there and back", async () => {
    const question = { role: "user" as const, content: 'sum\n#sim {"callTools": true}' };
    const first = await provider.openai.responses.create(asked({ input: [question], tools: [tool] }));
    const [call] = first.output;
    expect(call).toMatchObject({
      type: "function_call",
      name: "add",
      call_id: expect.stringMatching(/^call_/),
    });
    const output = {
      type: "function_call_output" as const,
      call_id: (call as { call_id: string }).call_id,
      output: "7",
    };
    const second = await provider.openai.responses.create(
      asked({ input: [question, call, output], tools: [tool] }) as Parameters<
        typeof provider.openai.responses.create
      >[0] & {
        stream?: false;
      },
    );
    expect(second.output_text).toContain('"7"');
  });

  it("and gets JSON by a schema, and an answer that was cut off", async () => {
    const format = {
      type: "json_schema" as const,
      name: "n",
      schema: { type: "object", properties: { a: { type: "boolean" } }, required: ["a"] },
    };
    const json = await provider.openai.responses.create(asked({ input: "x", text: { format } }));
    expect(JSON.parse(json.output_text)).toEqual({ a: expect.any(Boolean) });
    const cut = await provider.openai.responses.create(
      asked({ input: "tell me much", max_output_tokens: 1 }),
    );
    expect(cut).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } });
  });
});

it.each([
  ["input", {}],
  ["messages", { input: "x", messages: [] }],
  ["max_tokens", { input: "x", max_tokens: 5 }],
  ["tools", { input: "x", tools: [{ type: "function", function: { name: "add" } }] }],
  ["text", { input: "x", text: { format: { type: "json_schema", json_schema: {} } } }],
])("the parameter %s of another form is refused by its name", async (param, body) => {
  const { status, body: answer } = await post(`${provider.simulator.url}/v1/responses`, asked(body));
  expect([status, answer]).toMatchObject([400, { error: { param, type: "invalid_request_error" } }]);
});
