import { describe, expect, it } from "vitest";
import { toMessagesRequest } from "../../src/providers/anthropic-request.ts";
import { traitsOf } from "../../src/providers/model-traits.ts";
import { toChatBody } from "../../src/providers/openai-request.ts";
import { toResponsesBody } from "../../src/providers/responses-request.ts";
import { type ChatRequest, chatRequestSchema, type Message } from "../../src/shared/chat.ts";
import { sha256 } from "../../src/shared/digest.ts";
import { judged } from "../support/judged.ts";
import { testEntry } from "../support/provider.ts";
import { refusedByChat, refusedByMessages, refusedByResponses } from "../support/strict-history.ts";

const ENTRIES = {
  openai: testEntry("openai", "http://127.0.0.1"),
  anthropic: testEntry("anthropic", "http://127.0.0.1"),
};

function chatBody(messages: readonly object[], model = "gpt-4o-mini", write = toChatBody) {
  const request = chatRequestSchema.parse({ messages }) as ChatRequest;
  const call = { entry: ENTRIES.openai, model, request, providerOptions: undefined, isStreamed: false };
  return write(call, traitsOf(ENTRIES.openai, model)) as { messages: Message[] };
}

function expectValid(messages: readonly object[], about?: string) {
  expect(refusedByChat(chatBody(messages)), about).toBeUndefined();
  expect(refusedByResponses(chatBody(messages, undefined, toResponsesBody)), about).toBeUndefined();
  expect(refusedByMessages(messagesBody(messages)), about).toBeUndefined();
}

function messagesBody(messages: readonly object[], providerOptions?: Record<string, unknown>) {
  const request = chatRequestSchema.parse({ messages }) as ChatRequest;
  const model = "claude-sonnet-4-6";
  return toMessagesRequest({ entry: ENTRIES.anthropic, model, request, providerOptions });
}

const user = (content: unknown) => ({ role: "user", content });
const call = (id: string, name = "f", args = "{}") => ({
  id,
  type: "function",
  function: { name, arguments: args },
});
const calling = (...calls: object[]) => ({ role: "assistant", content: null, tool_calls: calls });
const result = (tool_call_id: string | undefined, content: unknown = "1") => ({
  role: "tool",
  tool_call_id,
  content,
});

/** Histories as models, programs and cut conversations leave them. */
const HISTORIES: Record<string, readonly object[]> = {
  "a name of other characters": [
    user("x"),
    calling(call("a", "get_weather<|channel|>commentary")),
    result("a"),
  ],
  "a name in another script": [user("x"), calling(call("a", "天気")), result("a")],
  "no name": [user("x"), calling(call("a", "")), result("a")],
  "a name of 300 characters": [user("x"), calling(call("a", "n".repeat(300))), result("a")],
  "arguments that are cut": [user("x"), calling(call("a", "f", '{"city": "Par')), result("a")],
  "arguments that are a list": [user("x"), calling(call("a", "f", "[1]")), result("a")],
  "arguments that are a text": [user("x"), calling(call("a", "f", '"{}"')), result("a")],
  "arguments that are null": [user("x"), calling(call("a", "f", "null")), result("a")],
  "no arguments": [user("x"), calling(call("a", "f", "")), result("a")],
  "an id of other characters": [user("x"), calling(call("functions.f:0")), result("functions.f:0")],
  "an id of 120 characters": [user("x"), calling(call("i".repeat(120))), result("i".repeat(120))],
  "no id": [user("x"), calling(call("")), result("")],
  "the same id in every turn": [
    user("x"),
    calling(call("c")),
    result("c"),
    calling(call("c")),
    result("c"),
    user("y"),
  ],
  "the same id side by side": [user("x"), calling(call("c"), call("c")), result("c", "1"), result("c", "2")],
  "a call without result": [user("x"), calling(call("a"), call("b")), result("b"), user("y")],
  "a call without result at the end": [user("x"), calling(call("a"))],
  "the same id again, the first without result": [
    user("x"),
    calling(call("c")),
    user("y"),
    calling(call("c")),
    result("c"),
  ],
  "a result without call": [user("x"), result("z"), user("y")],
  "a history that begins with a result": [result("z"), user("y")],
  "a result twice": [user("x"), calling(call("a")), result("a"), result("a"), user("y")],
  "results that name no call": [
    user("x"),
    calling(call("a"), call("b")),
    result(undefined, "1"),
    result(undefined, "2"),
  ],
  "results in another order": [user("x"), calling(call("a"), call("b")), result("b", "2"), result("a", "1")],
  "a result after another message": [user("x"), calling(call("a")), user("wait"), result("a"), user("y")],
  "calls in messages of their own": [
    user("x"),
    calling(call("a")),
    calling(call("b")),
    result("a"),
    result("b"),
  ],
  "a blank result": [user("x"), calling(call("a")), result("a", " \n"), user("y")],
  "a result of null": [user("x"), calling(call("a")), result("a", null), user("y")],
  "blank texts": [
    { role: "system", content: " " },
    user("x"),
    { role: "assistant", content: "" },
    user(" "),
    user("y"),
  ],
  "blank parts": [
    user([
      { type: "text", text: "" },
      { type: "text", text: "x" },
    ]),
    user([{ type: "text", text: " " }]),
  ],
  "blank text beside calls": [user("x"), { ...calling(call("a")), content: "  " }, result("a")],
  "an answer first": [{ role: "assistant", content: "Hello" }, user("x")],
  "only an answer": [
    { role: "system", content: "s" },
    { role: "assistant", content: "Hello" },
  ],
  "several of a role in a row": [
    user("x"),
    user("y"),
    { role: "assistant", content: "1" },
    { role: "assistant", content: "2" },
    user("z"),
  ],
  "an empty list of calls": [user("x"), { role: "assistant", content: "y", tool_calls: [] }, user("z")],
  "what another entry keeps": [
    user("x"),
    {
      ...calling(call("a")),
      vendor_state: { other: { message: { reasoning_content: "r" }, calls: [{ extra_content: {} }] } },
    },
    result("a"),
  ],
};

describe.each(Object.entries(HISTORIES))("a history with %s", (_what, messages) => {
  it("is made valid for every API, and the same each time", () => {
    const chat = chatBody(messages);
    expect(chatBody(messages)).toEqual(chat);
    expectValid(messages);
    // What it has become is valid in turn: a second writer has nothing to mend.
    expect(chatBody(chat.messages)).toEqual(chat);
  });
});

describe("a history", () => {
  it("that is valid goes out as it is", () => {
    const messages = [
      { role: "developer", content: "Be brief." },
      {
        role: "user",
        name: "Ada",
        content: [
          { type: "text", text: "x" },
          { type: "odd", value: 1 },
        ],
      },
      calling(call("call_1", "f", '{"n":9007199254740993}'), call("call_2")),
      result("call_1"),
      result("call_2", [{ type: "text", text: "2" }]),
      { role: "assistant", content: "Yes" },
      user("And?"),
    ];
    expect(chatBody(messages).messages).toEqual(messages);
  });

  it("keeps calls and results together, whatever they are renamed to", () => {
    const { messages } = chatBody([
      user("x"),
      calling(call("c", "a.b"), call("c", "f")),
      { ...result("c", "first"), name: "a.b" },
      result("c", "second"),
    ]);
    const ids = messages[1]?.tool_calls?.map(({ id }) => id);
    expect(messages.slice(2)).toEqual([
      { role: "tool", tool_call_id: ids?.[0], content: "first", name: "a_b" },
      { role: "tool", tool_call_id: ids?.[1], content: "second" },
    ]);
  });

  it("answers calls without result in their place, with an error", () => {
    const { messages } = chatBody([user("x"), calling(call("a"), call("b")), result("b", "2"), user("y")]);
    expect(messages.slice(2, 4)).toEqual([
      result("b", "2"),
      { role: "tool", tool_call_id: "a", content: "Error: this call was not run." },
    ]);
  });

  it("tells results without call as texts", () => {
    expect(chatBody([result("z", "42"), user("y")]).messages[0]).toEqual(
      user("Result of the tool call z:\n42"),
    );
  });

  it("has ids of nine letters and digits for Mistral's models", () => {
    const messages = [user("x"), calling(call("toolu_01ABC")), result("toolu_01ABC")];
    for (const model of ["mistral-large-latest", "mistralai/codestral-2508"]) {
      const [id] = chatBody(messages, model).messages[1]?.tool_calls?.map((one) => one.id) ?? [];
      expect(id).toMatch(/^[a-zA-Z0-9]{9}$/);
      expect(chatBody(messages, model).messages[2]?.tool_call_id).toBe(id);
    }
  });

  it("of any faults at once is valid for every API", () => {
    for (let seed = 0; seed < 300; seed++) {
      const messages = randomHistory(seed);
      expectValid(messages, `seed ${seed}: ${JSON.stringify(messages)}`);
    }
  });

  it("with pictures that another model took does not end with a model that takes none", async () => {
    const picture = { type: "image_url", image_url: { url: "data:image/png;base64,aGk=" } };
    const dialects = { openai: '"type":"image_url"', anthropic: '"type":"image"' };
    for (const dialect of ["openai", "anthropic"] as const) {
      const { ask, bodies } = await judged(dialect, (body) =>
        JSON.stringify(body).includes(dialects[dialect])
          ? { message: "This model does not support image inputs" }
          : undefined,
      );
      const seen = user([picture]) as Message;
      const asked = [seen, { role: "assistant", content: "A cat." }, user("Sure?")] as Message[];
      await ask({ messages: asked });
      expect(bodies).toHaveLength(2);
      expect(JSON.stringify(bodies[1])).toContain("[a part of the type image_url, which is not shown here]");
      // What is asked now is refused, not left out.
      await expect(ask({ messages: [...asked, seen] })).rejects.toThrow(/400/);
      await expect(ask({ messages: [seen] })).rejects.toThrow(/400/);
    }
  });

  it("of the functions of older models has tool calls for Anthropic", () => {
    const { messages } = messagesBody([
      user("x"),
      { role: "assistant", content: null, function_call: { name: "f", arguments: '{"a":1}' } },
      { role: "function", name: "f", content: "1" },
      user("y"),
    ]);
    expect(messages.slice(1)).toEqual([
      { role: "assistant", content: [{ type: "tool_use", id: "function_1", name: "f", input: { a: 1 } }] },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "function_1", content: [{ type: "text", text: "1" }] },
          { type: "text", text: "y" },
        ],
      },
    ]);
    expect(refusedByMessages(messagesBody([{ role: "function", name: "f", content: "1" }]))).toBeUndefined();
  });

  it("in which another provider took fields of its own is taken, a new message with them is not", () => {
    const own = { ...user("x"), audience: "me" };
    expect(
      refusedByMessages(messagesBody([own, { role: "assistant", content: "y" }, user("z")])),
    ).toBeUndefined();
    expect(() => messagesBody([own])).toThrow("cannot honour messages[0].audience");
  });

  it("in which another model took parts that this one does not tells of them", () => {
    const sound = { type: "input_audio", input_audio: { data: "aGk=", format: "wav" } };
    const { messages } = messagesBody([
      user([sound]),
      { role: "assistant", content: "A bird." },
      user("Which?"),
    ]);
    expect(messages[0]?.content).toEqual([
      { type: "text", text: "[a part of the type input_audio, which is not shown here]" },
    ]);
    expect(() => messagesBody([user([sound])])).toThrow("cannot honour messages[0].content[0].input_audio");
  });
});

/** A history of random length with random faults, the same for a seed. */
function randomHistory(seed: number): object[] {
  let state = Number.parseInt(sha256(`history ${seed}`).slice(0, 8), 16);
  const draw = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) % n;
  };
  const pick = <T>(values: readonly T[]) => values[draw(values.length)] as T;
  const id = () => pick(["a", "b", "", "x.y:0", "i".repeat(70)]);
  const text = () => pick(["x", "", " ", "long ".repeat(3)]);
  const one = () =>
    pick([
      () => user(text()),
      () => user([{ type: "text", text: text() }]),
      () => ({ role: "assistant", content: text() }),
      () => calling(call(id(), pick(["f", "", "a b"]), pick(["{}", "", "{", "[]"])), call(id())),
      () => calling(call(id())),
      () => result(pick([id(), undefined]), pick([text(), null])),
      () => ({ role: "system", content: text() }),
    ])();
  return [...Array.from({ length: draw(12) }, one), user("And now?")];
}
