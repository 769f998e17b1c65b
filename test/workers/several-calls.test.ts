import { Queue } from "bullmq";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineTool, JobCancelledError, StructuredOutputError } from "../../src/index.ts";
import { toErrorRecord } from "../../src/shared/error-record.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { emptyRecord } from "../../src/shared/records.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { failureOf } from "../support/provider.ts";
import { testRedis } from "../support/redis.ts";
import { CLAUDE_MODEL, MODEL, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const schema = z.object({ n: z.int().max(10) });
const FIT = { json: { n: 1 } };
const MISFIT = { json: { n: 100 } };
const prices = { [MODEL]: { inputPerMillion: 1000, outputPerMillion: 1000 } };

function script(about: string, ...turns: object[]): string {
  return `${about}\n#sim ${JSON.stringify({ turns })}`;
}

const step = defineTool({
  name: "step",
  description: "Takes a step.",
  parameters: z.object({ n: z.number().default(0) }),
  execute: ({ n }) => `step ${n}`,
});
const touchy = defineTool({
  name: "touchy",
  description: "Its schema throws.",
  parameters: z.object({ at: z.string().transform((text) => new URL(text).href) }),
  execute: ({ at }) => at,
});

let site: TestSite;
const redis = testRedis();
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_PRICES: JSON.stringify(prices) });
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
  redis.disconnect();
});

function client(options = {}) {
  const glue = openClient(site, { mode: "local", tools: [step, touchy], ...options });
  onTestFinished(() => glue.close());
  return glue;
}

const callsOf = (about: string) =>
  site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(about));

/** Retries the failed job as Bull Board's button does. */
async function retry(jobId: string): Promise<void> {
  const { prefix } = redisKeys(site.namespace);
  const queue = new Queue(completionQueueName(modelRef("simulator", "test")), { connection: redis, prefix });
  onTestFinished(() => queue.close());
  const job = await queue.getJob(jobId);
  await waitFor("its end in the queue", () => job?.isFailed());
  await job?.retry();
}

test("tools can be called in every turn of a conversation", async () => {
  const conversation = client().conversation();
  for (const word of ["first", "second", "third"]) {
    const prompt = script(`${word} turn`, { toolCalls: [{ name: "step" }] }, { reply: word });
    expect(await conversation.complete(prompt)).toMatchObject({ toolCallsMade: 1, finalResponse: word });
  }
  expect(callsOf("third turn").map(({ toolNames }) => toolNames.length)).toEqual([2, 2]);
});

test("rounds of repair are no part of a conversation", async () => {
  const conversation = client().conversation();
  expect(await conversation.structuredComplete(script("repaired", MISFIT, FIT), { schema })).toEqual({
    n: 1,
  });
  const messages = await conversation.messages();
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
  expect(messages[1]?.content).toBe('{"n":1}');
});

test("a tool whose schema throws is told to the model", async () => {
  const turns = [{ toolCalls: [{ name: "touchy", arguments: { at: "no url at all" } }] }, { reply: "sorry" }];
  const result = await client().complete(script("touchy", ...turns));
  expect(result).toMatchObject({ finalResponse: "sorry", attempts: 1 });
  expect(result.toolExecutionHistory[0]?.error?.code).toBe("invalid_arguments");
});

describe("structured answers that do not fit", () => {
  test("are not taken from the cache", async () => {
    const glue = client();
    const prompt = script("cached misfit", { ...MISFIT, tokens: 5 });
    const options = { schema, cache: true, maxRepairs: 0 };
    await expect(glue.complete(prompt, options)).rejects.toBeInstanceOf(StructuredOutputError);
    await expect(glue.complete(prompt, options)).rejects.toBeInstanceOf(StructuredOutputError);
    expect(callsOf("cached misfit")).toHaveLength(2);
    const fitting = script("cached fit", FIT);
    await glue.complete(fitting, options);
    expect(await glue.complete(fitting, options)).toMatchObject({ fromCache: true, output: { n: 1 } });
  });

  test("do not send the job to its next model", async () => {
    const error = await failureOf(
      client().complete(script("stay", MISFIT), {
        schema,
        maxRepairs: 1,
        model: [MODEL, "simulator:other"],
      }),
    );
    expect(error).toBeInstanceOf(StructuredOutputError);
    expect(callsOf("stay").map(({ model }) => model)).toEqual(["test"]);
  });

  test("are asked for anew when an operator retries the job", async () => {
    const glue = client();
    const handle = await glue.enqueue(script("asked anew", { ...MISFIT }), { schema, maxRepairs: 0 });
    await expect(handle.result()).rejects.toBeInstanceOf(StructuredOutputError);
    await retry(handle.id);
    await waitFor("a second call", () => callsOf("asked anew").length === 2);
  });

  test("are not printed while they come", async () => {
    site.write("schema.json", [z.toJSONSchema(schema)]);
    const prompt = script("streamed", MISFIT, FIT);
    const args = ["complete", prompt, "-m", MODEL, "--schema", "schema.json", "--stream"];
    const { stdout } = await site.run(...args);
    expect(JSON.parse(stdout)).toEqual({ n: 1 });
  });
});

test.each(["native", "tool", "prompt"] as const)("mode %s gives the same final text", async (outputMode) => {
  const turn = outputMode === "prompt" ? { reply: '{"n":1}' } : FIT;
  const result = await client().complete(script(`text in ${outputMode}`, turn), { schema, outputMode });
  expect(result.finalResponse).toBe('{"n":1}');
});

test("a parameter that one model's provider does not know sends the job to the next model", async () => {
  const result = await client().complete("seeded", { seed: 1, model: [CLAUDE_MODEL, MODEL] });
  expect(result).toMatchObject({ model: MODEL, fallbacks: [{ code: "unsupported_parameter" }] });
});

describe("what was paid", () => {
  const paidThenRefused = (about: string) =>
    script(
      about,
      { toolCalls: [{ name: "step" }], tokens: 10 },
      { error: "400", errorTimes: 1, reply: "at last", tokens: 10 },
    );

  test("stays on a failed job, and a retry that goes on from there counts it once", async () => {
    const conversation = client().conversation();
    const handle = await conversation.enqueue(paidThenRefused("one model"));
    await expect(handle.result()).rejects.toMatchObject({ code: "invalid_request" });
    const before = await conversation.usage();
    expect(before).toMatchObject({ calls: 1, tokensUsed: { completion: 10 } });
    await retry(handle.id);
    await waitFor("its success", async () => (await handle.status()).state === "succeeded");
    const { costUsd, tokensUsed } = await handle.result();
    expect(tokensUsed.completion).toBe(20);
    const usage = await conversation.usage();
    expect(usage).toMatchObject({ calls: 2, tokensUsed: { completion: 20 } });
    expect(usage.costUsd).toBeCloseTo(costUsd ?? Number.NaN);
  });

  test("stays on a failed job of several models", async () => {
    const conversation = client().conversation();
    const handle = await conversation.enqueue(paidThenRefused("two models"), {
      model: [MODEL, "simulator:other"],
    });
    await expect(handle.result()).rejects.toMatchObject({ code: "invalid_request" });
    expect(await conversation.usage()).toMatchObject({ calls: 1, tokensUsed: { completion: 10 } });
  });

  test("stays on a job that was cancelled in its loop, which makes no further call though the message was lost", async () => {
    const glue = client();
    const turns = Array.from({ length: 8 }, (_, n) => ({
      toolCalls: [{ name: "step", arguments: { n } }],
      latencyMs: 150,
    }));
    const conversation = glue.conversation();
    const handle = await conversation.enqueue(script("cancelled in its loop", ...turns));
    await waitFor("the second call", () => callsOf("cancelled in its loop").length === 2);
    // As cancel() does, but for its message.
    const target = { provider: { entry: "simulator", fingerprint: "" }, model: "test" };
    const error = { ...toErrorRecord(new JobCancelledError()), attempts: 0 };
    const record = { ...emptyRecord(handle.id, target, "cancelled", 0), error };
    await redis.set(redisKeys(site.namespace).result(handle.id), JSON.stringify(record));
    await expect(handle.result()).rejects.toBeInstanceOf(JobCancelledError);
    await waitFor("the sums", async () => (await conversation.usage()).calls > 0);
    expect(callsOf("cancelled in its loop").length).toBeLessThan(5);
  });

  test("is retried within a deadline of its own", async () => {
    const glue = client();
    const once = { error: "400", errorTimes: 1, reply: "in time" };
    const handle = await glue.enqueue(script("too late", once), { deadlineMs: 1500 });
    await expect(handle.result()).rejects.toMatchObject({ code: "invalid_request" });
    const enqueuedAt = performance.now();
    await waitFor("its deadline", () => performance.now() - enqueuedAt > 1600);
    await retry(handle.id);
    await waitFor("its success", async () => (await handle.status()).state === "succeeded");
  });
});
