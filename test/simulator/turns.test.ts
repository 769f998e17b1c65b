import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  anthropicRequest,
  openaiRequest,
  post,
  type SimulatedProvider,
  simulatedProvider,
} from "../support/simulated-provider.ts";

const CITY = { type: "object" as const, properties: { city: { type: "string" } }, required: ["city"] };
const TOOLS: OpenAI.ChatCompletionFunctionTool[] = [
  { type: "function", function: { name: "get_weather", parameters: CITY } },
  { type: "function", function: { name: "get_time", parameters: CITY } },
];
const ANTHROPIC_TOOLS = [
  { name: "get_weather", input_schema: CITY },
  { name: "get_time", input_schema: CITY },
];
const TRIP = {
  turns: [
    {
      reply: "I look it up.",
      toolCalls: [
        { name: "get_weather", arguments: { city: "Paris" } },
        { name: "get_time", arguments: { city: "Rome" }, id: "own-id" },
      ],
    },
    { json: { warm: true } },
    { reply: "Good bye." },
  ],
};

/** A user message whose directive scripts the conversation. */
function scripted(directive: object, text = "Question"): string {
  return `${text}\n#sim ${JSON.stringify(directive)}`;
}

let provider: SimulatedProvider;
beforeAll(async () => {
  provider = await simulatedProvider();
});
afterAll(() => provider[Symbol.asyncDispose]());

type OpenAIMessage = OpenAI.ChatCompletionMessageParam;
const WAYS = [
  ["in one piece", false],
  ["streamed", true],
] as const;

async function askOpenAI(messages: OpenAIMessage[], stream: boolean, more: object = {}) {
  const request = { model: "demo", messages, tools: TOOLS, ...more };
  const completion = stream
    ? await provider.openai.chat.completions.stream(request).finalChatCompletion()
    : await provider.openai.chat.completions.create(request);
  const { message, finish_reason } = completion.choices[0]!;
  return { message, finish: finish_reason as string };
}

async function askAnthropic(messages: Anthropic.MessageParam[], stream: boolean, more: object = {}) {
  const request = { model: "demo", max_tokens: 500, messages, tools: ANTHROPIC_TOOLS, ...more };
  return stream
    ? await provider.anthropic.messages.stream(request).finalMessage()
    : await provider.anthropic.messages.create(request);
}

/** A result for each tool call, as the vendors demand. */
function resultsOf({ tool_calls: calls = [] }: OpenAI.ChatCompletionMessage): OpenAIMessage[] {
  return calls.map(({ id }) => ({ role: "tool", tool_call_id: id, content: "done" }));
}

/** The status that a request with this directive gets. */
async function statusOf(directive: object): Promise<number> {
  const answer = await post(
    `${provider.simulator.url}/v1/chat/completions`,
    openaiRequest(scripted(directive)),
  );
  return answer.status;
}

describe.each(WAYS)("a script of turns, %s,", (_, stream) => {
  it("is walked through by the calls of one OpenAI conversation", async () => {
    const messages: OpenAIMessage[] = [{ role: "user", content: scripted(TRIP) }];
    const first = await askOpenAI(messages, stream);
    expect([first.finish, first.message.content]).toEqual(["tool_calls", "I look it up."]);
    const calls = first.message.tool_calls ?? [];
    expect(calls).toMatchObject([
      {
        id: expect.stringMatching(/^call_[0-9a-f]{24}$/),
        function: { name: "get_weather", arguments: '{"city":"Paris"}' },
      },
      { id: "own-id", function: { name: "get_time", arguments: '{"city":"Rome"}' } },
    ]);
    messages.push(
      first.message,
      ...calls.map(({ id }) => ({ role: "tool" as const, tool_call_id: id, content: "fine" })),
    );
    const second = await askOpenAI(messages, stream);
    expect([second.finish, second.message.content]).toEqual(["stop", '{"warm":true}']);
    messages.push(second.message, { role: "user", content: "That is wrong, once more." });
    const third = await askOpenAI(messages, stream);
    messages.push(third.message, { role: "user", content: "And again." });
    const beyond = await askOpenAI(messages, stream);
    expect([third.message.content, beyond.message.content]).toEqual(["Good bye.", "Good bye."]);
  });

  it("is walked through by the calls of one Anthropic conversation", async () => {
    const messages: Anthropic.MessageParam[] = [{ role: "user", content: scripted(TRIP) }];
    const first = await askAnthropic(messages, stream);
    expect(first.stop_reason).toBe("tool_use");
    expect(first.content).toMatchObject([
      { type: "text", text: "I look it up." },
      {
        type: "tool_use",
        id: expect.stringMatching(/^toolu_[0-9a-f]{24}$/),
        name: "get_weather",
        input: { city: "Paris" },
      },
      { type: "tool_use", id: "own-id", name: "get_time", input: { city: "Rome" } },
    ]);
    const results = first.content.flatMap((block) =>
      block.type === "tool_use"
        ? [{ type: "tool_result" as const, tool_use_id: block.id, content: "fine" }]
        : [],
    );
    messages.push({ role: "assistant", content: first.content }, { role: "user", content: results });
    const second = await askAnthropic(messages, stream);
    expect([second.stop_reason, second.content]).toMatchObject(["end_turn", [{ text: '{"warm":true}' }]]);
  });

  it("may name unknown tools and give arguments that are no JSON", async () => {
    const text = scripted({ toolCalls: [{ name: "no_such_tool", arguments: '{"city": ' }] });
    const openai = await askOpenAI([{ role: "user", content: text }], stream);
    expect(openai.message.tool_calls).toMatchObject([
      { function: { name: "no_such_tool", arguments: '{"city": ' } },
    ]);
    const anthropic = await askAnthropic([{ role: "user", content: text }], stream);
    expect(anthropic.content).toMatchObject([{ type: "tool_use", name: "no_such_tool", input: {} }]);
  });

  it.each([
    ["length", "length", "max_tokens"],
    ["content_filter", "content_filter", "refusal"],
  ])("may end with %s", async (finish, finishReason, stopReason) => {
    const text = scripted({ turns: [{ reply: "half", finish }] });
    const openai = await post(`${provider.simulator.url}/v1/chat/completions`, openaiRequest(text));
    expect(openai.body).toMatchObject({
      choices: [{ finish_reason: finishReason, message: { content: "half" } }],
    });
    const anthropic = await askAnthropic([{ role: "user", content: text }], stream);
    expect(anthropic.stop_reason).toBe(stopReason);
  });
});

describe("a script of turns", () => {
  it("gives the tool that tool_choice demands its json, and a disobedient reply too", async () => {
    const messages: OpenAIMessage[] = [
      {
        role: "user",
        content: scripted({ turns: [{ json: { city: 7 } }, { reply: "I would rather not." }] }),
      },
    ];
    const force = { tool_choice: { type: "function", function: { name: "get_time" } } };
    const { message } = await askOpenAI(messages, false, force);
    expect(message.tool_calls).toMatchObject([{ function: { name: "get_time", arguments: '{"city":7}' } }]);
    const next = await askOpenAI([...messages, message, ...resultsOf(message)], false, force);
    expect(next.message).toMatchObject({ content: "I would rather not." });
    expect(next.message.tool_calls).toBeUndefined();
  });

  it("starts anew with the next user message that has one", async () => {
    const { message } = await askOpenAI(
      [
        { role: "user", content: scripted({ turns: [{ reply: "a" }, { reply: "b" }] }) },
        { role: "assistant", content: "a" },
        { role: "user", content: scripted({ turns: [{ reply: "c" }, { reply: "d" }] }) },
        { role: "user", content: "a last word" },
      ],
      false,
    );
    expect(message.content).toBe("c");
  });

  it("gives the same ids for the same request, and other ids for other calls and turns", async () => {
    const toolCalls = [{ name: "get_time" }, { name: "get_time" }];
    const messages: OpenAIMessage[] = [{ role: "user", content: scripted({ toolCalls }) }];
    const first = await askOpenAI(messages, false);
    const again = await askOpenAI(messages, false);
    const next = await askOpenAI([...messages, first.message, ...resultsOf(first.message)], false);
    const [ids, idsAgain, idsNext] = [first, again, next].map(({ message }) =>
      message.tool_calls?.map(({ id }) => id),
    );
    expect(idsAgain).toEqual(ids);
    expect(new Set([...ids!, ...idsNext!]).size).toBe(4);
  });

  it("fails as often as it says", async () => {
    const directive = { turns: [{ reply: "at last", error: "503", errorTimes: 2 }] };
    expect([await statusOf(directive), await statusOf(directive), await statusOf(directive)]).toEqual([
      503, 503, 200,
    ]);
    expect(provider.simulator.journal.entries().at(-2)).toMatchObject({ status: 503, fault: "503" });
    for (const _ of [1, 2, 3]) expect(await statusOf({ reply: "never", error: "429" })).toBe(429);
  });

  it("counts its calls' names and arguments as completion tokens, or what it says", async () => {
    const toolCalls = [{ name: "abcd", arguments: "12345678" }];
    const url = `${provider.simulator.url}/v1/chat/completions`;
    for (const [directive, tokens] of [
      [{ toolCalls }, 3],
      [{ toolCalls, tokens: 77 }, 77],
    ] as const) {
      const answer = await post(url, openaiRequest(scripted(directive)));
      expect(answer.body).toMatchObject({ usage: { completion_tokens: tokens } });
    }
  });

  it.each<[string, object, string]>([
    ["no turn", { turns: [] }, "turns: "],
    ["an unknown field", { turns: [{ replay: "x" }] }, "turns.0: "],
    ["a field beside the turns", { turns: [{}], reply: "x" }, "turns stands alone"],
    ["a call without a name", { toolCalls: [{}] }, "toolCalls.0.name: "],
  ])("with %s is a 400 that says so", async (_, directive, message) => {
    const url = `${provider.simulator.url}/v1/messages`;
    const answer = await post(url, anthropicRequest(scripted(directive)));
    expect(answer).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining(message) } },
    });
  });
});

describe("callTools", () => {
  it("calls every tool once, then quotes the results", async () => {
    const messages: OpenAIMessage[] = [{ role: "user", content: scripted({ callTools: true }) }];
    const { message } = await askOpenAI(messages, false);
    expect(message.tool_calls).toMatchObject([
      { function: { name: "get_weather", arguments: '{"city":"simulated"}' } },
      { function: { name: "get_time", arguments: '{"city":"simulated"}' } },
    ]);
    const results = message.tool_calls!.map(({ id }, n) => ({
      role: "tool" as const,
      tool_call_id: id,
      content: n === 0 ? "12 °C" : "x".repeat(300),
    }));
    const answer = await askOpenAI([...messages, message, ...results], false);
    expect(answer.message.content).toBe(`[simulated] The tools say "12 °C" and "${"x".repeat(200)}".`);
  });

  it("reads Anthropic's results too, in text blocks as well", async () => {
    const messages: Anthropic.MessageParam[] = [{ role: "user", content: scripted({ callTools: true }) }];
    const { content } = await askAnthropic(messages, true);
    const results = content.flatMap((block, n) => {
      const text = n === 0 ? "raining" : [{ type: "text" as const, text: "noon" }];
      return block.type === "tool_use"
        ? [{ type: "tool_result" as const, tool_use_id: block.id, content: text }]
        : [];
    });
    expect(results).toHaveLength(2);
    messages.push({ role: "assistant", content }, { role: "user", content: results });
    const answer = await askAnthropic(messages, false);
    expect(answer.content).toMatchObject([{ text: '[simulated] The tools say "raining" and "noon".' }]);
    expect(provider.simulator.journal.entries().at(-1)).toMatchObject({
      lastUserText: messages[0]!.content,
      turn: 1,
    });
  });

  it("calls no tool that tool_choice rules out", async () => {
    const text = scripted({ callTools: true });
    const openai = await askOpenAI([{ role: "user", content: text }], false, { tool_choice: "none" });
    expect(openai.message.content).toMatch(/^\[simulated\] Answer/);
    const anthropic = await askAnthropic([{ role: "user", content: text }], false, {
      tool_choice: { type: "none" },
    });
    expect(anthropic.content).toMatchObject([{ type: "text" }]);
  });
});
