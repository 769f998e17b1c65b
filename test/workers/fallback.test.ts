import { Queue } from "bullmq";
import { afterAll, describe, expect, test } from "vitest";
import { readableData } from "../../dashboards/readable.ts";
import {
  APIConnectionError,
  BudgetWaitError,
  CostLimitError,
  defineTool,
  type GlueError,
  InputError,
  InvalidRequestError,
  RateLimitError,
} from "../../src/index.ts";
import { ROUTE_QUEUE } from "../../src/shared/queue-name.ts";
import { plainStore } from "../../src/store/store.ts";
import { usagePerMinute } from "../../src/store/usage.ts";
import { givesUp } from "../../src/workers/fallback.ts";
import { deadlineError, type Verdict } from "../../src/workers/verdict.ts";
import { completionPayload } from "../support/dashboard.ts";
import { BOTH, FIRST, openPair, SECOND, statuses } from "../support/model-pair.ts";
import { recordIn, testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());

describe.concurrent("a call with several models", () => {
  test("is answered by the first while that works", async () => {
    await using pair = await openPair();
    const result = await pair.client().complete("hello");
    expect(result).toMatchObject({ model: FIRST, fallbacks: [], attempts: 1 });
    expect(pair.second.journal.entries()).toEqual([]);
  });

  test("goes on with the second once the first has used up its attempts, and says why", async () => {
    await using pair = await openPair({ first: { faults: { "500": 1 } } });
    const result = await pair.client().complete("hello", { maxAttempts: 2 });
    expect(result).toMatchObject({
      model: SECOND,
      finalResponse: expect.stringContaining("[simulated]"),
      fallbacks: [{ model: FIRST, code: "server_error", message: expect.stringMatching(/./) }],
    });
    expect(statuses(pair.first)).toEqual([500, 500]);
    expect(statuses(pair.second)).toEqual([200]);
  });

  test("gives the second attempts of its own", async () => {
    await using pair = await openPair({
      first: { faults: { "500": 1 } },
      second: { faults: { script: [{ match: "hello", times: 2, fault: "500" }] } },
    });
    const result = await pair.client().complete("hello", { maxAttempts: 3 });
    expect(result.model).toBe(SECOND);
    expect(statuses(pair.first)).toEqual([500, 500, 500]);
    expect(statuses(pair.second)).toEqual([500, 500, 200]);
  });

  test("asks the second at once while the first one's circuit breaker is open", async () => {
    await using pair = await openPair({ first: { faults: { "500": 1 } } });
    const glue = pair.client();
    // Ten failures in a row open it.
    await Promise.all(Array.from({ length: 10 }, (_, n) => glue.complete(`call ${n}`, { maxAttempts: 3 })));
    const before = pair.first.journal.entries().length;
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) => glue.complete(`later ${n}`, { maxAttempts: 1000 })),
    );
    expect(new Set(results.map(({ model }) => model))).toEqual(new Set([SECOND]));
    expect(results.filter(({ fallbacks }) => fallbacks[0]?.code === "circuit_open").length).toBeGreaterThan(
      15,
    );
    // Single probes only.
    expect(pair.first.journal.entries().length - before).toBeLessThan(5);
  });

  test.each([
    ["insufficient_quota", "insufficient_quota"],
    ["401", "authentication"],
    ["404", "model_not_found"],
    ["529", "overloaded"],
    ["context_length_exceeded", "context_length_exceeded"],
  ] as const)("leaves the first after one answer of %s", async (fault, code) => {
    await using pair = await openPair({ first: { faults: { [fault]: 1 } } });
    const result = await pair.client().complete("hello");
    expect(result).toMatchObject({ model: SECOND, fallbacks: [{ model: FIRST, code }] });
    expect(pair.first.journal.entries()).toHaveLength(1);
  });

  test("fails with a request that the first calls wrong: the second is not asked", async () => {
    await using pair = await openPair({ first: { faults: { "400": 1 } } });
    const error = await pair
      .client()
      .complete("hello")
      .catch((fault: unknown) => fault);
    expect(error).toBeInstanceOf(InvalidRequestError);
    expect((error as GlueError).context).not.toHaveProperty("fallbacks");
    expect(pair.second.journal.entries()).toEqual([]);
  });

  test("stays with a model of the tool loop that it fell back to", async () => {
    await using pair = await openPair();
    const add = defineTool({
      name: "add",
      description: "Adds.",
      parameters: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } },
      execute: () => {
        pair.first.setFaults({ "401": 1 });
        return 3;
      },
    });
    const call = (n: number) => ({ toolCalls: [{ name: "add", arguments: { a: n, b: 2 } }] });
    const turns = JSON.stringify({ turns: [call(1), call(2), call(3), { reply: "done" }] });
    const result = await pair.client({ tools: [add] }).complete(`add\n#sim ${turns}`);
    expect(result).toMatchObject({
      model: SECOND,
      finalResponse: "done",
      toolCallsMade: 3,
      fallbacks: [{ model: FIRST, code: "authentication" }],
    });
    expect(statuses(pair.first)).toEqual([200, 401]);
    expect(statuses(pair.second)).toEqual([200, 200, 200]);
  });

  test("that no model can answer fails with the last one's error and the reasons of all", async () => {
    await using pair = await openPair({ first: { faults: { "401": 1 } }, second: { faults: { "500": 1 } } });
    const handle = await pair.client().enqueue("hello", { maxAttempts: 2 });
    const error = await handle.result().catch((fault: unknown) => fault);
    expect(error).toBeInstanceOf(APIConnectionError);
    expect((error as GlueError).context).toEqual({
      jobId: handle.id,
      model: SECOND,
      fallbacks: `${FIRST}: authentication`,
    });
    expect(pair.second.journal.entries()).toHaveLength(2);
    expect(await recordIn(redis, pair.site.namespace, handle.id)).toMatchObject({
      status: "failed",
      entry: "spare",
      model: "second",
      fallbacks: [{ model: FIRST, code: "authentication" }],
    });
  });

  test("begins with the first again when an operator retries it", async () => {
    await using pair = await openPair({ first: { faults: { "401": 1 } }, second: { faults: { "401": 1 } } });
    const handle = await pair.client().enqueue("hello");
    await expect(handle.result()).rejects.toThrow();
    pair.first.setFaults({});
    const queue = new Queue(ROUTE_QUEUE, { connection: redis, prefix: pair.keys.prefix });
    const job = await waitFor("the job", async () => {
      const found = await queue.getJob(handle.id);
      return (await found?.getState()) === "failed" ? found : undefined;
    });
    await job.retry("failed", { resetAttemptsMade: true });
    await waitFor("its success", async () => (await handle.status()).state === "succeeded");
    expect(await handle.result()).toMatchObject({ model: FIRST, fallbacks: [] });
    await queue.close();
  });

  test("counts as the use of the model that answered", async () => {
    await using pair = await openPair({ first: { faults: { "401": 1 } } });
    const { tokensUsed } = await pair.client().complete("hello");
    const used = (key: string) => usagePerMinute(plainStore(redis, pair.keys), key, Date.now() - 60_000);
    await waitFor("the counters", async () => (await used(SECOND)).requests > 0);
    // A rate of about a minute's whole seconds.
    expect((await used(SECOND)).tokens / tokensUsed.total).toBeCloseTo(1, 1);
    expect(await used(FIRST)).toMatchObject({ requests: 1, tokens: 0 });
    expect(await used(ROUTE_QUEUE)).toMatchObject({ requests: 1 });
  });
});

describe("a job leaves its model", () => {
  const wait = (delayMs: number) => ({ kind: "snooze", scope: "job", delayMs }) as const;
  const limited = new RateLimitError({ message: "slow down" });
  const isLeft = (error: GlueError, verdict: { kind: string }, hasWaitedForBudget = false) =>
    givesUp({ error, verdict: { error, ...verdict } as Verdict, hasWaitedForBudget });

  test.each([
    [9000, false],
    [11_000, true],
  ])("at a 429 of %s ms: %s", (delayMs, left) => {
    expect(isLeft(limited, wait(delayMs), true)).toBe(left);
  });

  test("when a line for the budget that was short at first still is there afterwards", () => {
    const line = new BudgetWaitError(FIRST, 6000);
    expect(isLeft(line, wait(6000))).toBe(false);
    expect(isLeft(line, wait(6000), true)).toBe(true);
  });

  test("when a wait would outlast its deadline, but not once that has passed", () => {
    expect(isLeft(limited, { kind: "fail" })).toBe(true);
    expect(isLeft(deadlineError(), { kind: "fail" })).toBe(false);
  });

  test("never at its cost limit, nor while attempts are left", () => {
    expect(isLeft(new CostLimitError({ message: "spent" }), { kind: "fail" })).toBe(false);
    expect(isLeft(new APIConnectionError({ message: "cut" }), { kind: "retry" })).toBe(false);
  });
});

test("the dashboard shows the models of a job in their order", () => {
  const spare = { provider: { entry: "spare", fingerprint: "f" }, model: "second" };
  expect(readableData(completionPayload({ fallbacks: [spare] }))).toMatchObject({
    model: "openai:gpt-4o-mini",
    fallbacks: [SECOND],
  });
});

describe.concurrent("the caller", () => {
  test("is refused what is no list of models", async () => {
    await using pair = await openPair();
    const glue = pair.client();
    const refusal = async (model: string[]) => {
      const error = await glue.enqueue("hello", { model }).catch((fault: unknown) => fault);
      expect(error).toBeInstanceOf(Error);
      return error as GlueError;
    };
    expect(await refusal([])).toBeInstanceOf(InputError);
    expect(await refusal(Array.from({ length: 11 }, (_, n) => `simulator:m${n}`))).toBeInstanceOf(InputError);
    expect((await refusal([FIRST, "first"])).code).toBe("duplicate_model");
    expect((await refusal([FIRST, "anthropic:claude-sonnet-4-5"])).code).toBe("missing_key");
    expect((await refusal([FIRST, "nobody:x"])).code).toBe("unknown_provider");
  });

  test("has another request under an idempotency key with other models", async () => {
    await using pair = await openPair();
    const glue = pair.client();
    const first = await glue.enqueue("hello", { idempotencyKey: "k" });
    expect((await glue.enqueue("hello", { idempotencyKey: "k" })).id).toBe(first.id);
    await expect(glue.enqueue("hello", { idempotencyKey: "k", model: FIRST })).rejects.toMatchObject({
      code: "idempotency_conflict",
    });
    await expect(
      glue.enqueue("hello", { idempotencyKey: "k", model: BOTH.toReversed() }),
    ).rejects.toMatchObject({ code: "idempotency_conflict" });
  });

  test("names them with -m again and again", { tags: "long" }, async () => {
    await using pair = await openPair({ first: { faults: { "401": 1 } } });
    const run = await pair.site.run("complete", "hello", "-m", FIRST, "-m", SECOND, "--json");
    expect(run.code).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({
      model: SECOND,
      fallbacks: [{ model: FIRST, code: "authentication" }],
    });
    const queues = await pair.site.run("queues");
    expect(queues.stdout).toMatch(/^completions\.route +0 +0 +0 +0 +1 +\d+ +closed/m);
  });
});
