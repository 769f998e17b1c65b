import { zodResponseFormat } from "openai/helpers/zod";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import {
  collect,
  openaiRequest,
  type SimulatedProvider,
  simulatedProvider,
} from "../support/simulated-provider.ts";

const WEATHER_TOOL = {
  type: "function" as const,
  function: {
    name: "get_weather",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer", minimum: 1 } },
      required: ["city", "days"],
    },
  },
};

let provider: SimulatedProvider;
beforeAll(async () => {
  provider = await simulatedProvider();
});
afterAll(() => provider[Symbol.asyncDispose]());

describe("OpenAI's SDK against the simulator", () => {
  it("gets the same simulated answer with the same usage for the same request", async () => {
    const request = openaiRequest("What is 17 + 4?");
    const { data, response } = await provider.openai.chat.completions.create(request).withResponse();
    const again = await provider.openai.chat.completions.create(request);
    const text = data.choices[0]?.message.content ?? "";
    expect(text).toMatch(/^\[simulated\] .* 5 words/);
    expect(data.system_fingerprint).toBe("gluellm-simulator");
    expect(response.headers.get("x-gluellm-simulator")).toBe("1");
    expect(data.choices[0]?.finish_reason).toBe("stop");
    expect(data.usage).toMatchObject({
      prompt_tokens: Math.ceil("What is 17 + 4?".length / 4),
      completion_tokens: Math.ceil(text.length / 4),
    });
    expect(data.usage?.total_tokens).toBe(data.usage!.prompt_tokens + data.usage!.completion_tokens);
    expect([again.choices, again.usage]).toEqual([data.choices, data.usage]);
  });

  it("varies the length from 20 to 120 tokens around 50", async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) => provider.openai.chat.completions.create(openaiRequest(`q ${n}`))),
    );
    const lengths = answers.map(({ usage }) => usage!.completion_tokens).sort((a, b) => a - b);
    expect(lengths[0]).toBeGreaterThanOrEqual(20);
    expect(lengths.at(-1)).toBeLessThanOrEqual(120);
    expect(lengths[100]).toBeGreaterThan(40);
    expect(lengths[100]).toBeLessThan(60);
    expect(new Set(lengths).size).toBeGreaterThan(30);
  });

  it.each(["max_tokens", "max_completion_tokens"])("honours %s", async (parameter) => {
    const answer = await provider.openai.chat.completions.create({
      ...openaiRequest("long"),
      [parameter]: 7,
    });
    expect(answer.choices[0]?.finish_reason).toBe("length");
    expect(answer.usage?.completion_tokens).toBe(7);
  });

  it("gives n choices and counts them all", async () => {
    const answer = await provider.openai.chat.completions.create({
      ...openaiRequest("many"),
      n: 3,
      max_tokens: 5,
    });
    expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(answer.usage?.completion_tokens).toBe(15);
  });

  it("streams the same text, with usage when asked", async () => {
    const request = openaiRequest("stream this");
    const plain = await provider.openai.chat.completions.create(request);
    const stream = await provider.openai.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    expect(text).toMatch(/^\[simulated\] /);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: plain.usage?.prompt_tokens },
    });
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(Math.ceil(text.length / 4));
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
  });

  it("streams without usage unless asked, and the SDK's own accumulator is content", async () => {
    const completion = await provider.openai.chat.completions
      .stream(openaiRequest("accumulate"))
      .finalChatCompletion();
    expect(completion.choices[0]?.message.content).toMatch(/^\[simulated\] /);
    expect(completion.usage ?? null).toBeNull();
  });

  it("calls a tool only when tool_choice forces it", async () => {
    const request = { ...openaiRequest("weather?"), tools: [WEATHER_TOOL] };
    const free = await provider.openai.chat.completions.create(request);
    expect(free.choices[0]?.message.tool_calls).toBeUndefined();
    for (const tool_choice of [
      "required" as const,
      { type: "function" as const, function: { name: "get_weather" } },
    ]) {
      const forced = await provider.openai.chat.completions.create({ ...request, tool_choice });
      const [choice] = forced.choices;
      expect(choice).toMatchObject({ finish_reason: "tool_calls", message: { content: null } });
      expect(choice?.message.tool_calls).toEqual([
        {
          id: expect.stringMatching(/^call_/),
          type: "function",
          function: { name: "get_weather", arguments: '{"city":"simulated","days":1}' },
        },
      ]);
    }
  });

  it("streams a forced tool call", async () => {
    const completion = await provider.openai.chat.completions
      .stream({ ...openaiRequest("weather?"), tools: [WEATHER_TOOL], tool_choice: "required" })
      .finalChatCompletion();
    expect(completion.choices[0]?.finish_reason).toBe("tool_calls");
    expect(completion.choices[0]?.message.tool_calls?.[0]).toMatchObject({
      function: { name: "get_weather", arguments: '{"city":"simulated","days":1}' },
    });
  });

  it("answers a JSON schema with an instance of it", async () => {
    const schema = z.object({
      answer: z.number().min(3),
      steps: z.array(z.string()).min(2),
      kind: z.enum(["a", "b"]),
      note: z.string().nullable(),
    });
    const answer = await provider.openai.chat.completions.parse({
      ...openaiRequest("structured"),
      response_format: zodResponseFormat(schema, "result"),
    });
    expect(schema.parse(answer.choices[0]?.message.parsed)).toEqual(answer.choices[0]?.message.parsed);
  });

  it("does as a #sim line says", async () => {
    const started = performance.now();
    const answer = await provider.openai.chat.completions.create(
      openaiRequest('Question\n#sim {"reply": "exactly this", "tokens": 50, "latencyMs": 120}\n'),
    );
    expect(performance.now() - started).toBeGreaterThanOrEqual(118);
    expect(answer.choices[0]?.message.content).toBe("exactly this");
    expect(answer.usage?.completion_tokens).toBe(50);
  });

  it("lists a model", async () => {
    expect((await provider.openai.models.list()).data.map(({ id }) => id)).toEqual(["demo"]);
  });
});
