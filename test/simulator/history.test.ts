import type Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type SimulatedProvider, simulatedProvider } from "../support/simulated-provider.ts";

let provider: SimulatedProvider;
beforeAll(async () => {
  provider = await simulatedProvider();
});
afterAll(() => provider[Symbol.asyncDispose]());

const QUESTION = { role: "user" as const, content: "What time is it?" };

test("OpenAI's dialect refuses a history in which tool calls and results do not belong together", async () => {
  const called: OpenAI.ChatCompletionMessageParam = {
    role: "assistant",
    tool_calls: [{ id: "a", type: "function", function: { name: "get_time", arguments: "{}" } }],
  };
  const result = (id: string): OpenAI.ChatCompletionMessageParam => ({
    role: "tool",
    tool_call_id: id,
    content: "1",
  });
  const ask = (...messages: OpenAI.ChatCompletionMessageParam[]) =>
    provider.openai.chat.completions.create({ model: "demo", messages });
  await expect(ask(QUESTION, called)).rejects.toThrow(/400.*"a" has no result/);
  await expect(ask(QUESTION, called, QUESTION, result("a"))).rejects.toThrow(/400.*"a" has no result/);
  await expect(ask(QUESTION, called, result("b"))).rejects.toThrow(/400.*no tool call "b"/);
  await expect(ask(QUESTION, result("a"))).rejects.toThrow(/400.*no tool call "a"/);
  await ask(QUESTION, called, result("a"), QUESTION);
});

test("Anthropic's dialect does too", async () => {
  const called: Anthropic.MessageParam = {
    role: "assistant",
    content: [{ type: "tool_use", id: "a", name: "get_time", input: {} }],
  };
  const result = { type: "tool_result" as const, tool_use_id: "a", content: "1" };
  const ask = (...messages: Anthropic.MessageParam[]) =>
    provider.anthropic.messages.create({ model: "demo", max_tokens: 100, messages });
  await expect(ask(QUESTION, called, QUESTION)).rejects.toThrow(/400.*the tool call .*a.* has no result/);
  await ask(QUESTION, called, { role: "user", content: [result, { type: "text", text: "Well?" }] });
});
