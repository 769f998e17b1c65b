import { join } from "node:path";
import { expect } from "vitest";
import { z } from "zod";
import { type CompletionEvent, type CompletionResult, InvalidRequestError } from "../../src/index.ts";
import { FAULT_FEATURES } from "./feature-faults.ts";
import { costOf, type Feature, type FeatureProvider, type SentBody } from "./feature-providers.ts";
import { failureOf } from "./provider.ts";
import { script } from "./scripted-aimock.ts";
import { collect } from "./streamed.ts";
import { add } from "./tools.ts";

/** What the worker process loads: the tools by name. */
export const FEATURE_TOOLS = join(import.meta.dirname, "tools.ts");

type ToolCall = { function: { arguments: string } };

const ADD = (a: number, b: number) => ({ name: "add", arguments: { a, b } });
const citySchema = z.object({ city: z.string(), people: z.int().min(1) });
const PARIS = { city: "Paris", people: 2_000_000 };
const answerCall = (value: object) => ({ toolCalls: [{ name: "answer", arguments: value }] });

/** Every feature of the client, each end to end: client, Redis, worker, adapter, and what the provider sees. */
export const FEATURES: Readonly<Record<string, Feature>> = {
  async "a plain completion, its tokens and its cost"({ glue, entry, wire, sent }) {
    const result = await glue.complete(script("plain", { reply: "Four." }), { maxTokens: 50 });
    expect(result).toMatchObject({
      finalResponse: "Four.",
      finishReason: "stop",
      model: `${entry}:test`,
      attempts: 1,
      requestId: expect.stringMatching(/./),
      rawResponse: { object: "chat.completion" },
    });
    const { prompt, completion, total } = result.tokensUsed;
    expect(Math.min(prompt, completion)).toBeGreaterThan(0);
    expect(total).toBe(prompt + completion);
    expect(result.costUsd).toBeCloseTo(costOf(result.tokensUsed), 9);
    const limit = wire === "responses" ? { max_output_tokens: 50 } : { max_tokens: 50 };
    expect(sent("plain")).toMatchObject([{ model: "test", ...limit }]);
  },

  async "a worker in the caller's own process"({ localClient, entry }) {
    await using local = localClient(`${entry}:local`);
    expect((await local.complete(script("local", { reply: "here" }))).finalResponse).toBe("here");
  },

  async "a system prompt"({ glue, wire, sent }) {
    await glue.complete(script("with a system prompt", { reply: "Yes." }), { system: "Be brief." });
    const [body] = sent("with a system prompt");
    if (wire === "anthropic") expect(body?.system).toEqual([{ type: "text", text: "Be brief." }]);
    else expect(body?.messages[0]).toEqual({ role: "system", content: "Be brief." });
  },

  async "several turns in one request"({ glue, sent }) {
    const { finalResponse } = await glue.complete([
      { role: "user", content: "My name is Ada." },
      { role: "assistant", content: "Hello Ada." },
      { role: "user", content: script("What is my name?", { reply: "It is Ada." }) },
    ]);
    expect(finalResponse).toBe("It is Ada.");
    expect(sent("What is my name?")[0]?.messages.map(({ role }) => role)).toEqual([
      "user",
      "assistant",
      "user",
    ]);
  },

  async "a loop of tools"({ glue, wire, sent }) {
    const turns = [{ toolCalls: [ADD(1, 2)] }, { toolCalls: [ADD(3, 4)] }, { reply: "3 and 7." }];
    const result = await glue.complete(script("tool loop", ...turns), { tools: ["add"] });
    expect(result).toMatchObject({ finalResponse: "3 and 7.", toolCallsMade: 2 });
    expect(sent("tool loop").map((body) => toolResults(wire, body))).toEqual([[], ["3"], ["3", "7"]]);
    expect(result.costUsd).toBeCloseTo(costOf(result.tokensUsed), 9);
    expect(result.tokensUsed.prompt).toBeGreaterThan(result.rawResponse.usage?.prompt_tokens ?? Infinity);
  },

  async "parallel calls of tools, of which some fail"({ glue, wire, sent }) {
    const toolCalls = [ADD(5, 5), { name: "fail", arguments: {} }, { name: "nobody", arguments: {} }];
    const result = await glue.complete(script("side by side", { toolCalls }, { reply: "done" }), {
      tools: ["add", "fail"],
    });
    const outcomes = result.toolExecutionHistory.map((run) => run.result ?? run.error?.code);
    expect(outcomes).toEqual(["10", "tool_failed", "unknown_tool"]);
    expect(toolResults(wire, sent("side by side")[1])).toEqual([
      "10",
      expect.stringContaining("the shelf is empty"),
      expect.stringContaining("there is no such tool; there are: add, fail"),
    ]);
  },

  async "tools that are left to the caller"({ glue }) {
    const result = await glue.complete(script("by hand", { toolCalls: [ADD(1, 1)] }), {
      tools: [add],
      executeTools: false,
    });
    expect(result).toMatchObject({ finishReason: "tool_calls", finalResponse: "", toolCallsMade: 0 });
    const [call] = (result.rawResponse.choices[0]?.message.tool_calls ?? []) as ToolCall[];
    expect(call).toMatchObject({ type: "function", function: { name: "add" } });
    expect(JSON.parse(call?.function.arguments ?? "")).toEqual({ a: 1, b: 1 });
  },

  async "a structured answer, native"({ glue, wire, sent }) {
    const prompt = script("native", { json: PARIS });
    const { city, people } = await glue.structuredComplete(prompt, { schema: citySchema });
    expect({ city, people }).toEqual(PARIS);
    const [body] = sent("native");
    const asked: Record<typeof wire, object> = {
      openai: { response_format: { type: "json_schema", json_schema: { name: "answer", strict: true } } },
      responses: { text: { format: { type: "json_schema", name: "answer", strict: true } } },
      anthropic: { output_config: { format: { type: "json_schema", schema: { type: "object" } } } },
    };
    expect(body).toMatchObject(asked[wire]);
  },

  async "a structured answer by a tool call"({ glue, wire, sent }) {
    const options = { schema: citySchema, outputMode: "tool" } as const;
    expect(await glue.structuredComplete(script("by tool", answerCall(PARIS)), options)).toEqual(PARIS);
    const asked: Record<typeof wire, object> = {
      openai: { tools: [{ function: { name: "answer" } }], tool_choice: { function: { name: "answer" } } },
      responses: { tools: [{ name: "answer" }], tool_choice: { type: "function", name: "answer" } },
      anthropic: { tools: [{ name: "answer" }], tool_choice: { type: "tool", name: "answer" } },
    };
    expect(sent("by tool")).toMatchObject([asked[wire]]);
  },

  async "a structured answer by the prompt, and its repair"({ glue, sent }) {
    const options = { schema: citySchema, outputMode: "prompt" } as const;
    const prompt = script(
      "by prompt",
      { reply: "Paris!" },
      { json: { ...PARIS, people: 0 } },
      { json: PARIS },
    );
    expect(await glue.structuredComplete(prompt, options)).toEqual(PARIS);
    const bodies = sent("by prompt");
    expect(bodies).toHaveLength(3);
    expect(JSON.stringify(bodies[2])).toContain("/people");
    expect(Object.keys(bodies[0] ?? {})).not.toContain("tools");
  },

  async "a stream of text"({ glue, sent }) {
    const reply = "Ünïcödé 🌍 in many small pieces. ".repeat(4);
    const events = await collect(glue.stream(script("streamed text", { reply, latencyMs: 600 })));
    const texts = events.filter((event) => event.type === "text").map(({ text }) => text);
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.join("")).toBe(reply);
    const result = resultOf(events);
    expect(result).toMatchObject({ finalResponse: reply, finishReason: "stop" });
    expect(result?.costUsd).toBeCloseTo(costOf(result?.tokensUsed ?? { prompt: 0, completion: 0 }), 9);
    expect(result?.tokensUsed.completion).toBeGreaterThan(0);
    expect(sent("streamed text")).toMatchObject([{ stream: true }]);
  },

  async "a stream of tool calls, which the worker runs"({ glue }) {
    const prompt = script("streamed tools", { toolCalls: [ADD(2, 2)] }, { reply: "Four." });
    const events = await collect(glue.stream(prompt, { tools: ["add"] }));
    const calls = events.filter((event) => event.type === "toolCall");
    expect(calls[0]).toMatchObject({ index: 0, name: "add", id: expect.stringMatching(/./) });
    expect(JSON.parse(calls.map((piece) => piece.arguments).join(""))).toEqual({ a: 2, b: 2 });
    expect(events.filter(({ type }) => type === "turn")).toEqual([{ type: "turn", turn: 2 }]);
    expect(resultOf(events)).toMatchObject({ finalResponse: "Four.", toolCallsMade: 1 });
  },

  async "a conversation, and what it costs"({ glue, sent }) {
    const conversation = glue.conversation();
    const first = await conversation.complete(script("its first turn", { reply: "One." }));
    const second = await conversation.complete(script("its second turn", { reply: "Two." }));
    expect([first.finalResponse, second.finalResponse]).toEqual(["One.", "Two."]);
    // What was reasoned goes back as an item of its own, without a role.
    const said = sent("its second turn")[0]?.messages.filter(({ role }) => role) ?? [];
    expect(said.map(({ role }) => role)).toEqual(["user", "assistant", "user"]);
    expect(JSON.stringify(said[1])).toContain("One.");
    const { calls, costUsd } = await conversation.usage();
    expect(calls).toBe(2);
    expect(costUsd).toBeCloseTo((first.costUsd ?? NaN) + (second.costUsd ?? NaN), 9);
  },

  async "pictures and documents"({ glue, wire, sent }) {
    const { finalResponse } = await glue.complete([
      { type: "text", text: script("what you see", { reply: "A bill." }) },
      { type: "image_url", image_url: { url: "data:image/png;base64,aGk=" } },
      { type: "file", file: { filename: "bill.pdf", file_data: "data:application/pdf;base64,aGk=" } },
    ]);
    expect(finalResponse).toBe("A bill.");
    const [picture, document] = ["data:image/png;base64,aGk=", "data:application/pdf;base64,aGk="];
    const asked: Record<typeof wire, object[]> = {
      openai: [
        { type: "image_url", image_url: { url: picture } },
        { type: "file", file: { filename: "bill.pdf", file_data: document } },
      ],
      responses: [
        { type: "input_image", image_url: picture },
        { type: "input_file", filename: "bill.pdf", file_data: document },
      ],
      anthropic: [
        { type: "image", source: { type: "base64", media_type: "image/png", data: "aGk=" } },
        {
          type: "document",
          source: { type: "base64", media_type: "application/pdf", data: "aGk=" },
          title: "bill.pdf",
        },
      ],
    };
    expect(sent("what you see")[0]?.messages[0]?.content.slice(1)).toEqual(asked[wire]);
  },

  async "sound, or a clear refusal of it"({ glue, wire, sent }) {
    const sound = { type: "input_audio", input_audio: { data: "aGk=", format: "wav" } } as const;
    const answer = glue.complete([{ type: "text", text: script("what you hear", { reply: "Hi." }) }, sound]);
    if (wire === "openai") {
      expect((await answer).finalResponse).toBe("Hi.");
      expect(sent("what you hear")[0]?.messages[0]?.content[1]).toEqual(sound);
      return;
    }
    const error = await failureOf(answer);
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect(error).toMatchObject({ code: "unsupported_parameter", hint: expect.stringMatching(/no sound/) });
    expect(sent("what you hear")).toEqual([]);
  },

  async "an answer from the cache"({ glue, sent }) {
    const prompt = script("the same again", { reply: "Once." });
    const options = { temperature: 0 };
    const [first, second] = [await glue.complete(prompt, options), await glue.complete(prompt, options)];
    expect([first.fromCache, second.fromCache]).toEqual([false, true]);
    expect(second).toMatchObject({ finalResponse: "Once.", costUsd: 0, rawResponse: first.rawResponse });
    expect(sent("the same again")).toHaveLength(1);
  },

  ...FAULT_FEATURES,
};

function resultOf(events: readonly CompletionEvent[]): CompletionResult | undefined {
  const last = events.at(-1);
  return last?.type === "result" ? last.result : undefined;
}

/** The texts of all tool results in a request. */
function toolResults(wire: FeatureProvider["wire"], body: SentBody | undefined): unknown[] {
  const messages = body?.messages ?? [];
  if (wire === "openai") return messages.filter(({ role }) => role === "tool").map(({ content }) => content);
  if (wire === "responses")
    return messages.filter(({ type }) => type === "function_call_output").map(({ output }) => output);
  const blocks = messages.flatMap(({ content }) => (Array.isArray(content) ? content : []));
  return blocks.filter(({ type }) => type === "tool_result").map(({ content }) => content[0].text);
}
