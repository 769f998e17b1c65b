import { afterAll, describe, expect, test } from "vitest";
import {
  APIConnectionError,
  GlueError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
} from "../../src/shared/errors.ts";
import { eventsOf, type Fields, sse } from "../support/odd-answers.ts";
import { expectNormal, json, openOddWire } from "../support/odd-wire.ts";
import { failureOf, goodBody } from "../support/provider.ts";

const wire = openOddWire();
afterAll(wire.close);
const ask = (whole: unknown) => wire.ask("responses", json(whole));
const streamed = (events: readonly unknown[]) => wire.streamed("responses", events);

const whole = (changes: Fields): Fields => ({ ...goodBody("responses", "fine"), ...changes });
const said = (text: string, more: Fields = {}) => ({
  type: "message",
  id: "msg_1",
  role: "assistant",
  content: [{ type: "output_text", text, annotations: [], logprobs: [] }],
  ...more,
});
const called = (changes: Fields = {}) => ({
  ...{ type: "function_call", id: "fc_1", call_id: "call_1", name: "f", arguments: '{"a":1}' },
  ...changes,
});
const thought = (changes: Fields = {}) => ({
  ...{ type: "reasoning", id: "rs_1", encrypted_content: "secret" },
  summary: [
    { type: "summary_text", text: "First this." },
    { type: "summary_text", text: "Then that." },
  ],
  ...changes,
});

/** Each whole and as a stream. */
const ANSWERS: Record<string, { given: Fields; choice: Fields }> = {
  "a text": { given: {}, choice: { finish_reason: "stop", message: { content: "fine" } } },
  "a text in several parts and messages": {
    given: { output: [said("one "), said("two", { id: "msg_2" })] },
    choice: { message: { content: "one two" } },
  },
  "reasoning, a text and calls": {
    given: { output: [thought(), said("so"), called(), called({ id: "fc_2", call_id: "call_2" })] },
    choice: {
      finish_reason: "tool_calls",
      message: {
        content: "so",
        reasoning: "First this.\n\nThen that.",
        tool_calls: [
          { id: "call_1", type: "function", function: { name: "f", arguments: '{"a":1}' } },
          { id: "call_2" },
        ],
        response_items: [
          thought(),
          { type: "message" },
          { type: "function_call" },
          { type: "function_call" },
        ],
      },
    },
  },
  "reasoning that is told whole": {
    given: {
      output: [thought({ summary: [], content: [{ type: "reasoning_text", text: "hm" }] }), said("x")],
    },
    choice: { message: { reasoning: "hm", content: "x" } },
  },
  "think tags in the text": {
    given: { output: [said("<think>hm</think>x")] },
    choice: { message: { reasoning: "hm", content: "x" } },
  },
  "what is said before the answer": {
    given: { output: [said("I look.", { phase: "commentary" }), said("It is.", { phase: "final_answer" })] },
    choice: { message: { reasoning: "I look.", content: "It is." } },
  },
  "an answer that was cut off": {
    given: { status: "incomplete", incomplete_details: { reason: "max_output_tokens" } },
    choice: { finish_reason: "length", message: { content: "fine" } },
  },
  "an answer that was cut off, without a reason": {
    given: { status: "incomplete", incomplete_details: null },
    choice: { finish_reason: "length" },
  },
  "an answer that the filter ended": {
    given: { status: "incomplete", incomplete_details: { reason: "content_filter" }, output: [] },
    choice: { finish_reason: "content_filter", message: { content: null } },
  },
  "a refusal": {
    given: { output: [said("", { content: [{ type: "refusal", refusal: "I cannot." }] })] },
    choice: { finish_reason: "content_filter", message: { content: null, refusal: "I cannot." } },
  },
};

describe("an answer of Responses", () => {
  test.each(Object.entries(ANSWERS))("%s", async (_, { given, choice }) => {
    const body = whole(given);
    for (const reply of [await ask(body), await streamed(eventsOf("responses", body))]) {
      expectNormal(reply);
      expect(reply.body.choices).toMatchObject([choice]);
      expect(reply).toMatchObject({ tokens: { prompt: 12, completion: 3, total: 15 } });
    }
  });

  test.each(["id", "object", "created_at", "model", "status", "usage", "incomplete_details", "metadata"])(
    "the field %s may be absent, null or of any type",
    async (field) => {
      const values =
        field === "status" ? [undefined, null, "", 0] : [undefined, null, "", 0, 17, {}, [], "?"];
      for (const value of values) expectNormal(await ask(whole({ [field]: value })));
    },
  );

  test.each<[string, Fields, string]>([
    ["a text in place of items", { output: "fine" }, "fine"],
    ["output_text alone", { output: undefined, output_text: "fine" }, "fine"],
    ["content as a text", { output: [{ role: "assistant", content: "fine" }] }, "fine"],
    ["unknown items beside it", { output: [{ type: "web_search_call", id: "ws_1" }, said("fine")] }, "fine"],
  ])("%s", async (_, given, text) => {
    expect((await ask(whole(given))).body.choices[0]?.message.content).toBe(text);
  });

  test("a call with an object as arguments, or without an id", async () => {
    const calls = [called({ arguments: { a: 1 }, call_id: undefined }), called({ id: null, call_id: null })];
    const [first, second] = (await ask(whole({ output: calls }))).body.choices[0]?.message.tool_calls ?? [];
    expect(first).toMatchObject({ id: "fc_1", function: { arguments: '{"a":1}' } });
    expect(second?.id).toMatch(/^call_\w{24}$/);
  });

  test("sources and what the provider's own tools did stay with it; usage keeps its details", async () => {
    const annotations = [{ type: "url_citation", url: "https://a.test" }];
    const search = { type: "web_search_call", id: "ws_1", status: "completed" };
    const output = [search, said("x", { content: [{ type: "output_text", text: "x", annotations }] })];
    const usage = {
      input_tokens: 12,
      input_tokens_details: { cached_tokens: 8 },
      output_tokens: 3,
      output_tokens_details: { reasoning_tokens: 2 },
    };
    const { body, tokens } = await ask(whole({ output, usage }));
    expect(body.choices[0]?.message.content_parts).toEqual([
      search,
      { type: "output_text", text: "x", annotations },
    ]);
    expect(tokens).toEqual({ prompt: 12, completion: 3, total: 15, cached: 8 });
    expect(body.usage).toMatchObject({ completion_tokens_details: { reasoning_tokens: 2 } });
  });

  test("nothing of the request is repeated in it", async () => {
    const { body } = await ask(
      whole({ instructions: "a secret", tools: [{ name: "a secret" }], store: false }),
    );
    expect(JSON.stringify(body)).not.toContain("secret");
  });

  test("without usage its tokens are estimated", async () => {
    expect((await ask(whole({ usage: null }))).tokens.estimated).toBe(true);
  });

  test("reasoning that is stored nowhere is not kept to go back", async () => {
    const output = [thought({ encrypted_content: null }), said("x")];
    const itemsOf = async (store: boolean) =>
      (await ask(whole({ output, store }))).body.choices[0]?.message.response_items;
    expect(await itemsOf(false)).toBeUndefined();
    expect(await itemsOf(true)).toMatchObject([{ type: "reasoning", id: "rs_1" }, { type: "message" }]);
  });
});

describe("what is no answer of Responses", () => {
  const server = { code: "server_error", message: "no" };
  const limited = { code: "rate_limit_exceeded", message: "slow down" };
  const picture = { code: "invalid_image_url", message: "no such picture" };
  test.each([
    ["queued", { status: "queued", output: [] }, APIConnectionError],
    ["cancelled", { status: "cancelled", output: [said("half")] }, APIConnectionError],
    ["failed without an error", { status: "failed", output: [] }, APIConnectionError],
    ["failed", { status: "failed", error: server, output: [] }, APIConnectionError],
    ["failed by a limit", { status: "failed", error: limited, output: [] }, RateLimitError],
    ["failed by a picture", { status: "failed", error: picture, output: [] }, InvalidRequestError],
    ["with empty output", { output: [], status: undefined }, APIConnectionError],
  ])("one that is %s", async (_, given, type) => {
    const body = whole(given);
    expect(await failureOf(ask(body))).toBeInstanceOf(type);
    expect(await failureOf(streamed(eventsOf("responses", body)))).toBeInstanceOf(GlueError);
  });

  test("one without output", async () => {
    for (const output of [undefined, null, 17]) {
      const error = await failureOf(ask(whole({ output })));
      expect(error).toMatchObject({
        code: "invalid_response",
        message: expect.stringContaining("no output"),
      });
    }
  });

  test("a stream that breaks off, or ends with an error", async () => {
    const events = eventsOf("responses", whole({}));
    expect(await failureOf(streamed(events.slice(0, -1)))).toMatchObject({ code: "invalid_response" });
    const error = { type: "error", code: "rate_limit_exceeded", message: "slow", param: null };
    expect(await failureOf(streamed([...events.slice(0, 3), error]))).toBeInstanceOf(RateLimitError);
    const overloaded = {
      type: "response.failed",
      response: whole({ status: "failed", error: { code: "overloaded_error" } }),
    };
    expect(await failureOf(streamed([...events.slice(0, 3), overloaded]))).toBeInstanceOf(OverloadedError);
  });
});

describe("a stream of Responses", () => {
  const output = [thought(), said("Two and two."), called()];
  const events = eventsOf("responses", whole({ output })) as Fields[];
  const without = (name: RegExp) => events.filter(({ type }) => !name.test(String(type)));
  const expected = { content: "Two and two.", reasoning: "First this.\n\nThen that." };

  test.each<[string, Fields[]]>([
    ["without the items' ends", without(/done$/)],
    ["without their beginnings", without(/added$/)],
    ["whose response at its end is empty", events.map((event) => withoutOutput(event))],
    ["without places", events.map(({ output_index: _, ...event }) => event)],
    ["without ids", events.map(({ item_id: _, ...event }) => event)],
    [
      "with unknown events",
      [...events.slice(0, 4), { type: "response.new.thing", delta: {} }, ...events.slice(4)],
    ],
    ["that tells only the whole items", without(/delta$/)],
  ])("%s", async (name, given) => {
    const { body } = name.includes("only")
      ? await wire.ask("responses", streamOf(given))
      : await streamed(given);
    const { message } = body.choices[0] ?? {};
    expect(message).toMatchObject(expected);
    expect(message?.tool_calls).toMatchObject([
      { id: "call_1", function: { name: "f", arguments: '{"a":1}' } },
    ]);
  });

  test("tells a call under the id that the answer has, also where the server gives none", async () => {
    const nameless = eventsOf(
      "responses",
      whole({ output: [called({ call_id: undefined, id: undefined })] }),
    );
    expect((await streamed(nameless)).body.choices[0]?.message.tool_calls?.[0]?.id).toMatch(/^call_\w{24}$/);
  });
});

function withoutOutput(event: Fields): Fields {
  return event.type === "response.completed"
    ? { ...event, response: { ...(event.response as Fields), output: [] } }
    : event;
}

function streamOf(events: readonly unknown[]) {
  return { body: sse("responses", events), type: "text/event-stream" };
}
