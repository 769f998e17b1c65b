import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, GlueLLM, JobCancelledError } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { failureOf } from "../support/provider.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { SocketProxy } from "../support/socket-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

/** Takes connections, and never answers. */
const hole = createServer(() => {});
beforeAll(() => new Promise<void>((resolve) => hole.listen(0, "127.0.0.1", resolve)));
afterAll(() => hole.close());

function deafClient(): GlueLLM {
  const { port } = hole.address() as AddressInfo;
  const env = { GLUELLM_REDIS_URL: `redis://127.0.0.1:${port}`, OPENAI_API_KEY: "none" };
  const settings = loadSettings({ env, cwd: "/" });
  const glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
  onTestFinished(() => glue.close());
  return glue;
}

const flow = defineWorkflow({
  name: "never",
  version: 1,
  input: z.object({}),
  output: z.string(),
  run: async () => "",
});
const JOB = "job-11111111-2222-4333-8444-555555555555";

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

async function runBatch(glue: GlueLLM, signal: AbortSignal): Promise<unknown> {
  const folder = temporaryFolder();
  const [inputPath, outputPath] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
  writeFileSync(inputPath, '{"prompt":"hello"}\n');
  return (await glue.batches.run({ inputPath, outputPath, signal })).report();
}

describe("a signal is heard while Redis does not answer, and before anything is opened", () => {
  const calls: [string, (glue: GlueLLM, signal: AbortSignal) => Promise<unknown>][] = [
    ["complete", (glue, signal) => glue.complete("x", { signal })],
    ["structuredComplete", (glue, signal) => glue.structuredComplete("x", { schema: z.string(), signal })],
    ["enqueue", (glue, signal) => glue.enqueue("x", { signal })],
    ["stream", (glue, signal) => drain(glue.stream("x", { signal }))],
    ["complete of a conversation", (glue, signal) => glue.conversation().complete("x", { signal })],
    [
      "enqueue of a conversation",
      (glue, signal) => glue.conversation({ id: "mine" }).enqueue("x", { signal }),
    ],
    ["stream of a conversation", (glue, signal) => drain(glue.conversation().stream("x", { signal }))],
    ["workflows.start", (glue, signal) => glue.workflows.start(flow, {}, { signal })],
    ["batches.run", runBatch],
  ];
  const waits: typeof calls = [
    ["result of a handle", (glue, signal) => glue.handle(JOB).result({ signal })],
    ["stream of a handle", (glue, signal) => drain(glue.handle(JOB).stream({ signal }))],
    ["result of a run", (glue, signal) => glue.workflows.open("run-1").result({ signal })],
  ];

  test.each(calls)("%s ends with JobCancelledError", async (_, call) => {
    const glue = deafClient();
    const reason = new Error("given up");
    const abort = new AbortController();
    const failure = failureOf(call(glue, abort.signal));
    setImmediate(() => abort.abort(reason));
    for (const error of [await failure, await failureOf(call(glue, AbortSignal.abort(reason)))]) {
      expect(error).toBeInstanceOf(JobCancelledError);
      expect(error).toMatchObject({ message: expect.stringContaining("given up"), cause: reason });
    }
  });

  test.each(waits)("%s, which leaves the job alone, ends with the signal's reason", async (_, wait) => {
    const glue = deafClient();
    const abort = new AbortController();
    const failure = failureOf(wait(glue, abort.signal));
    setImmediate(() => abort.abort("enough"));
    expect(await failure).toBe("enough");
    expect(await failureOf(wait(glue, AbortSignal.abort("before")))).toBe("before");
  });

  test("and a time to wait counts from the call on", async () => {
    const failure = failureOf(deafClient().handle(JOB).result({ timeoutMs: 20 }));
    expect(await failure).toMatchObject({ code: "result_timeout" });
  });
});

test("a signal is heard when Redis falls silent while the call waits", async () => {
  const proxy = await SocketProxy.open(inject("redisSocket"));
  onTestFinished(() => proxy.close());
  const env = { GLUELLM_REDIS_URL: `unix://${proxy.path}`, GLUELLM_NAMESPACE: testNamespace() };
  const settings = loadSettings({ env: { ...env, OPENAI_API_KEY: "none" }, cwd: "/" });
  const glue = new GlueLLM({ model: "openai:gpt-4o-mini", mode: "fleet", settings });
  onTestFinished(() => glue.close());
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const abort = new AbortController();
  const { signal } = abort;
  const handle = await glue.enqueue("first");
  const calls = [
    glue.complete("x", { signal }),
    drain(glue.stream("y", { signal })),
    handle.result({ signal }),
  ];
  const failures = Promise.all(calls.map(failureOf));
  const { prefix } = redisKeys(env.GLUELLM_NAMESPACE);
  await waitFor("the jobs", async () => (await redis.keys(`${prefix}:completions.*:job-*`)).length === 3);
  proxy.hush();
  abort.abort("enough");
  const [first, second, third] = await failures;
  for (const error of [first, second]) expect(error).toMatchObject({ code: "cancelled", cause: "enough" });
  expect(third).toBe("enough");
  // What waits for Redis is told when it is gone.
  proxy.cut();
});

test("without a signal a Redis that takes connections and does not answer is said to be unreachable", async () => {
  expect(await failureOf(deafClient().complete("x"))).toMatchObject({ code: "redis_unreachable" });
});
