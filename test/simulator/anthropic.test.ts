import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  anthropicRequest,
  collect,
  type SimulatedProvider,
  simulatedProvider,
} from "../support/simulated-provider.ts";

const LOOKUP_TOOL = {
  name: "look_up",
  input_schema: {
    type: "object" as const,
    properties: { id: { type: "string", format: "uuid" } },
    required: ["id"],
  },
};

let provider: SimulatedProvider;
beforeAll(async () => {
  provider = await simulatedProvider();
});
afterAll(() => provider[Symbol.asyncDispose]());

describe("Anthropic's SDK against the simulator", () => {
  it("gets a simulated answer with usage", async () => {
    const { data, response } = await provider.anthropic.messages
      .create({ ...anthropicRequest("Hello there"), system: "Be brief." })
      .withResponse();
    const [block] = data.content;
    const text = block?.type === "text" ? block.text : "";
    expect(text).toMatch(/^\[simulated\] .* 2 words/);
    expect(response.headers.get("x-gluellm-simulator")).toBe("1");
    expect(data.stop_reason).toBe("end_turn");
    expect(data.usage).toMatchObject({
      input_tokens: Math.ceil("Hello thereBe brief.".length / 4),
      output_tokens: Math.ceil(text.length / 4),
    });
  });

  it("honours max_tokens", async () => {
    const answer = await provider.anthropic.messages.create({ ...anthropicRequest("long"), max_tokens: 9 });
    expect([answer.stop_reason, answer.usage.output_tokens]).toEqual(["max_tokens", 9]);
  });

  it("streams the same answer", async () => {
    const request = anthropicRequest("stream this");
    const events = await collect(await provider.anthropic.messages.create({ ...request, stream: true }));
    expect([events[0]?.type, events.at(-1)?.type]).toEqual(["message_start", "message_stop"]);
    const streamed = await provider.anthropic.messages.stream(request).finalMessage();
    expect(streamed.content[0]).toMatchObject({
      type: "text",
      text: expect.stringMatching(/^\[simulated\] /),
    });
    expect(streamed.stop_reason).toBe("end_turn");
    expect(streamed.usage.output_tokens).toBeGreaterThanOrEqual(20);
  });

  it("calls a tool only when tool_choice forces it, streaming too", async () => {
    const request = { ...anthropicRequest("look it up"), tools: [LOOKUP_TOOL] };
    const free = await provider.anthropic.messages.create(request);
    expect(free.content[0]?.type).toBe("text");
    const call = {
      type: "tool_use",
      id: expect.stringMatching(/^toolu_/),
      name: "look_up",
      input: { id: "00000000-0000-4000-8000-000000000000" },
    };
    for (const tool_choice of [{ type: "any" as const }, { type: "tool" as const, name: "look_up" }]) {
      const forced = await provider.anthropic.messages.create({ ...request, tool_choice });
      expect([forced.stop_reason, forced.content]).toEqual(["tool_use", [call]]);
      const streamed = await provider.anthropic.messages.stream({ ...request, tool_choice }).finalMessage();
      expect([streamed.stop_reason, streamed.content]).toMatchObject(["tool_use", [call]]);
    }
  });

  it("answers a JSON schema with an instance of it", async () => {
    const schema = z.object({ total: z.int(), people: z.array(z.object({ name: z.string() })) });
    const answer = await provider.anthropic.messages.parse({
      ...anthropicRequest("structured"),
      output_config: { format: zodOutputFormat(schema) },
    });
    expect(answer.parsed_output).toEqual({ total: 0, people: [] });
  });

  it("lists a model", async () => {
    expect((await provider.anthropic.models.list()).data.map(({ id }) => id)).toEqual(["demo"]);
  });
});
