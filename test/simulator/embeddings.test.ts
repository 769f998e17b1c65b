import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { post, type SimulatedProvider, simulatedProvider } from "../support/simulated-provider.ts";

let provider: SimulatedProvider;
beforeAll(async () => {
  provider = await simulatedProvider();
});
afterAll(() => provider[Symbol.asyncDispose]());

async function vectorsOf(...input: string[]): Promise<number[][]> {
  const { data } = await provider.openai.embeddings.create({ model: "demo", input });
  return data.map(({ embedding }) => [...embedding]);
}

function cosine(a: number[] = [], b: number[] = []): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
}

describe("OpenAI's SDK asks for embeddings", () => {
  it("and gets unit vectors of 64 dimensions, the same for the same text", async () => {
    const [first, second, third] = await vectorsOf("Where is my parcel?", "!!!", "where is MY parcel");
    const [again] = await vectorsOf("Where is my parcel?");
    for (const vector of [first, second]) {
      expect(vector).toHaveLength(64);
      expect(cosine(vector, vector)).toBeCloseTo(1, 5);
    }
    expect([again, third]).toEqual([first, first]);
  });

  it("and gets near ones for texts that share words", async () => {
    const texts = [
      "I want a refund for my broken phone",
      "Customers who ask for a refund of a broken product",
      "The weather in Paris tomorrow morning",
    ];
    const [asked, near, far] = await vectorsOf(...texts);
    expect(cosine(asked, near)).toBeGreaterThan(cosine(asked, far) + 0.2);
    expect(Math.abs(cosine(asked, far))).toBeLessThan(0.35);
    const [plural] = await vectorsOf("refunds");
    const [singular, other] = await vectorsOf("refund", "weather");
    expect(cosine(plural, singular)).toBeGreaterThan(cosine(plural, other) + 0.2);
  });

  it("in both encodings and any number of dimensions", async () => {
    const request = { model: "demo", input: "many", dimensions: 1000 };
    const floats = await provider.openai.embeddings.create({ ...request, encoding_format: "float" });
    const packed = await provider.openai.embeddings.create(request);
    expect(floats.data[0]?.embedding).toHaveLength(1000);
    expect([...packed.data[0]!.embedding]).toEqual(floats.data[0]?.embedding);
  });

  it("without the #sim lines of the texts", async () => {
    const [plain, scripted] = await vectorsOf("a question", 'a question\n#sim {"error": "500"}');
    expect(scripted).toEqual(plain);
  });

  it("and finds the usage counted, in the journal too", async () => {
    const { usage } = await provider.openai.embeddings.create({ model: "demo", input: ["12345678", "1234"] });
    expect(usage).toEqual({ prompt_tokens: 3, total_tokens: 3 });
    expect(provider.simulator.journal.entries().at(-1)).toMatchObject({
      operation: "embeddings",
      lastUserText: "12345678\n1234",
      promptTokens: 3,
      completionTokens: 0,
      status: 200,
    });
  });

  it("under the same limits and faults as any other call", async () => {
    const script = [{ match: "bad", fault: "500" as const }];
    await using own = await simulatedProvider({ rpm: 60, burstSeconds: 2, faults: { script } });
    const url = `${own.simulator.url}/v1/embeddings`;
    const statuses = [];
    for (const input of ["bad", "good", "too much"]) {
      statuses.push((await post(url, { model: "demo", input })).status);
    }
    expect(statuses).toEqual([500, 200, 429]);
    expect(await post(url, { model: "demo", input: [1, "two"] })).toMatchObject({
      status: 400,
      body: { error: { param: "input" } },
    });
  });
});
