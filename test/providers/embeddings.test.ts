import { expect, test } from "vitest";
import type { ProviderCall } from "../../src/providers/provider.ts";
import { vectorToText } from "../../src/shared/vector-text.ts";
import { anyWorkflow } from "../support/any-workflow.ts";
import { callOf, failureOf, testAdapter, testEntry } from "../support/provider.ts";
import { sendJson, wireServer } from "../support/wire-server.ts";
import { workflowSite } from "../support/workflow-site.ts";

const TEXTS = ["a refund for my phone", "my phone: a refund", "the weather in Paris"];

function cosine(a: readonly number[] = [], b: readonly number[] = []): number {
  return a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
}

test("a workflow gets vectors from a job of the model's own queue, the same ones in every replay", async () => {
  const { runs, workReplaying, site } = await workflowSite();
  const near = anyWorkflow("near", async (ctx) => {
    const vectors = await ctx.embed("embed", TEXTS, { model: "simulator:vectors", dimensions: 128 });
    await ctx.sleep(1);
    return vectors;
  });
  await workReplaying(near);
  const run = await runs.start(near, {});
  const [asked, close, far, ...others] = (await run.result()) as number[][];
  expect([asked, close, far].map((vector) => vector?.length)).toEqual([128, 128, 128]);
  expect(others).toEqual([]);
  expect(cosine(asked, asked)).toBeCloseTo(1, 5);
  expect(cosine(asked, close)).toBeGreaterThan(cosine(asked, far) + 0.2);
  expect((await run.steps())[0]).toMatchObject({ step: "embed", subject: "simulator:vectors" });
  expect((await run.status()).tokensUsed).toMatchObject({ completion: 0 });
  expect((await run.status()).tokensUsed.prompt).toBeGreaterThan(5);
  expect(site.simulator.journal.entries()).toHaveLength(1);
});

test("a call for vectors is tried again after a passing fault, and fails with the job's error after a lasting one", async () => {
  const { runs, work, site } = await workflowSite({
    answer: ({ model }) => (model === "shaky" ? { error: "500", errorTimes: 1 } : { error: "400" }),
  });
  const shaky = anyWorkflow("shaky", (ctx) => ctx.embed("embed", TEXTS, { model: "simulator:shaky" }));
  const wrong = anyWorkflow("wrong", (ctx) => ctx.embed("embed", TEXTS, { model: "simulator:wrong" }));
  await work(shaky, wrong);
  expect(await (await runs.start(shaky, {})).result()).toHaveLength(3);
  expect(site.simulator.journal.entries().map(({ status }) => status)).toEqual([500, 200]);
  await expect((await runs.start(wrong, {})).result()).rejects.toMatchObject({ code: "invalid_request" });
});

/** A call for the vectors of two texts. */
function embeddingCall(dialect: "openai" | "anthropic", changes: Partial<ProviderCall["request"]> = {}) {
  const messages = ["one", "two"].map((content) => ({ role: "user" as const, content }));
  return callOf(dialect, { messages, embedding: {}, ...changes });
}

test("the request is an Embeddings one; vectors come in the order of the texts, as numbers or as base64", async () => {
  const server = await wireServer((response) =>
    sendJson(response, {
      data: [
        { index: 1, embedding: vectorToText([3, 4]) },
        { index: 0, embedding: [1, 2] },
      ],
      usage: { prompt_tokens: 7, total_tokens: 7 },
    }),
  );
  const adapter = testAdapter(testEntry("openai", server.url));
  const call = embeddingCall("openai", { embedding: { dimensions: 2 } });
  const reply = await adapter.complete(call);
  expect(reply.body.choices.map(({ message }) => message.content)).toEqual([
    vectorToText([1, 2]),
    vectorToText([3, 4]),
  ]);
  expect(reply).toMatchObject({
    tokens: { prompt: 7, completion: 0, total: 7 },
    charged: { input: 7, output: 0 },
  });
  expect(server.requests[0]?.path).toBe("/v1/embeddings");
  expect(JSON.parse(server.requests[0]?.body ?? "")).toEqual({
    model: call.model,
    input: ["one", "two"],
    encoding_format: "float",
    dimensions: 2,
  });
  expect(adapter.estimateTokens(call.model, call.request)).toMatchObject({ output: 0 });
});

test("without indexes vectors have the order of the texts; use that is not told is estimated", async () => {
  const data = [[1], [2]].map((embedding) => ({ index: null, embedding }));
  const server = await wireServer((response) => sendJson(response, { data, usage: null }));
  const { body, tokens } = await testAdapter(testEntry("openai", server.url)).complete(
    embeddingCall("openai"),
  );
  expect(body.choices.map(({ message }) => message.content)).toEqual([vectorToText([1]), vectorToText([2])]);
  expect(tokens).toEqual({ prompt: 10, completion: 0, total: 10, cached: 0, estimated: true });
});

test("token ids go out in the place of texts, and are counted", async () => {
  const data = [[1], [2]].map((embedding, index) => ({ index, embedding }));
  const server = await wireServer((response) => sendJson(response, { data }));
  const ids = [[7, 8, 9], Array.from({ length: 40 }, (_, id) => id)];
  const call = embeddingCall("openai", { embedding: { dimensions: 1, tokens: ids } });
  const adapter = testAdapter(testEntry("openai", server.url));
  expect(adapter.estimateTokens(call.model, call.request)).toEqual({ input: 43, output: 0 });
  expect((await adapter.complete(call)).tokens).toMatchObject({ prompt: 43, estimated: true });
  const sent = { model: call.model, input: ids, encoding_format: "float", dimensions: 1 };
  expect(JSON.parse(server.requests[0]?.body ?? "")).toEqual(sent);
});

test.each([
  ["too few vectors", { data: [{ index: 0, embedding: [1] }] }],
  ["one text twice", { data: [0, 0].map((index) => ({ index, embedding: [1] })) }],
  ["an empty vector", { data: [0, 1].map((index) => ({ index, embedding: [] })) }],
  ["no vectors at all", { object: "list" }],
])("%s: an invalid response", async (_what, body) => {
  const server = await wireServer((response) => sendJson(response, body));
  const call = testAdapter(testEntry("openai", server.url)).complete(embeddingCall("openai"));
  expect(await failureOf(call)).toMatchObject({ name: "APIConnectionError", code: "invalid_response" });
});

test("what cannot be asked for is said before the call", async () => {
  const server = await wireServer((response) => sendJson(response, {}));
  const messages = [{ role: "system" as const, content: "Embed." }];
  const withSystem = testAdapter(testEntry("openai", server.url)).complete(
    embeddingCall("openai", { messages }),
  );
  expect(await failureOf(withSystem)).toMatchObject({ code: "unsupported_parameter" });
  const atAnthropic = testAdapter(testEntry("anthropic", server.url)).complete(embeddingCall("anthropic"));
  expect(await failureOf(atAnthropic)).toMatchObject({
    code: "unsupported_parameter",
    message: expect.stringContaining("embedding"),
  });
  expect(server.requests).toEqual([]);
});
