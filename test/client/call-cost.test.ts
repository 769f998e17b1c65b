import { afterAll, describe, expect, test } from "vitest";
import { CostLimitError, defineTool, type GlueError, GlueLLM } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { CallCosts } from "../../src/workers/call-costs.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { MODEL, SHORT_LOCKS, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const PRICE = { inputPerMillion: 1000, outputPerMillion: 4000 };
const GLUELLM_PRICES = JSON.stringify({ [MODEL]: PRICE });
const redis = testRedis();
afterAll(() => redis.disconnect());

const add = defineTool({
  name: "add",
  description: "Adds.",
  parameters: { type: "object", properties: { a: { type: "number" } } },
  execute: () => 3,
});

/** Asks for four calls of the tool, each answer of 50 tokens, and an answer. */
const FIVE_CALLS = `add\n#sim ${JSON.stringify({
  turns: [
    ...[1, 2, 3, 4].map((a) => ({ toolCalls: [{ name: "add", arguments: { a } }], tokens: 50 })),
    { reply: "done", tokens: 50 },
  ],
})}`;

/** In the same process as its worker, unless told otherwise. */
function clientOf(site: TestSite, mode: "local" | "fleet" = "local"): GlueLLM {
  const settings = loadSettings({ env: site.env, cwd: "/" });
  return new GlueLLM({ model: MODEL, mode, settings, tools: [add] });
}

/** USD of all calls that the simulator answered. */
function paidUsd(site: TestSite): number {
  const entries = site.simulator.journal.entries().filter(({ status }) => status === 200);
  return entries.reduce((sum, entry) => sum + entry.promptTokens + 4 * entry.completionTokens, 0) / 1000;
}

const failureOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as GlueError,
  );

describe.concurrent("maxCostUsd", () => {
  test("of a conversation bounds all its calls, whoever makes them, until it is raised", async () => {
    await using site = await TestSite.open({}, { GLUELLM_PRICES });
    await using glue = clientOf(site);
    const conversation = glue.conversation({ maxCostUsd: 0.5 });
    const prompt = `hello\n#sim ${JSON.stringify({ reply: "hi", tokens: 50 })}`;
    const options = { maxTokens: 60 };
    const { costUsd } = await conversation.complete(prompt, options);
    expect(costUsd).toBeGreaterThan(0.2);
    await conversation.complete(prompt, options).catch(() => {});
    // Another holder of the id, who knows nothing of the limit.
    const other = glue.conversation({ id: conversation.id });
    const error = await failureOf(other.complete(prompt, options));
    expect(error).toMatchObject({ code: "cost_limit", context: { maxCostUsd: 0.5 } });
    expect(paidUsd(site)).toBeLessThanOrEqual(0.5);
    expect((await conversation.usage()).costUsd).toBeCloseTo(paidUsd(site));
    const raised = glue.conversation({ id: conversation.id, maxCostUsd: 5 });
    expect(await raised.complete(prompt, options)).toMatchObject({ finalResponse: "hi" });
    await expect(raised.complete(prompt, { model: "simulator:unpriced" })).rejects.toMatchObject({
      code: "unpriced_model",
    });
    const messages = await other.messages();
    const unpriced = other.enqueue(prompt, { model: "simulator:unpriced" });
    expect(await failureOf(unpriced), "at the caller, who cannot know of it").toMatchObject({
      code: "unpriced_model",
    });
    expect(await other.messages(), "and leaves nothing in it").toEqual(messages);
  });

  test("ends a tool loop before the call that could pass it, with the class at the caller", async () => {
    await using site = await TestSite.open({}, { GLUELLM_PRICES });
    await using glue = clientOf(site);
    const error = await failureOf(glue.complete(FIVE_CALLS, { maxTokens: 60, maxCostUsd: 1.2 }));
    expect(error).toBeInstanceOf(CostLimitError);
    expect(error).toMatchObject({ code: "cost_limit", context: { maxCostUsd: 1.2, model: MODEL } });
    const calls = site.simulator.journal.entries().length;
    expect(calls).toBeGreaterThan(1);
    expect(calls).toBeLessThan(5);
    expect(paidUsd(site)).toBeLessThanOrEqual(1.2);
    expect(error?.context.spentUsd).toBeCloseTo(paidUsd(site), 9);
  });

  test("lets a job that fits pass, and its books go with it", async () => {
    await using site = await TestSite.open({}, { GLUELLM_PRICES });
    await using glue = clientOf(site);
    const result = await glue.complete(FIVE_CALLS, { maxTokens: 60, maxCostUsd: 20 });
    expect(result).toMatchObject({ finalResponse: "done", toolCallsMade: 4 });
    expect(result.costUsd).toBeCloseTo(paidUsd(site), 9);
    const keys = redisKeys(site.namespace);
    const ledger = keys.jobCost(result.jobId);
    const [spent, reserved] = await redis.hmget(ledger, "spentUsd", "reservedUsd");
    expect(Number(spent)).toBeCloseTo(paidUsd(site), 6);
    expect(Number(reserved)).toBe(0);
    const [deadlineMs, dayMs] = [600_000, 86_400_000];
    expect(await redis.pttl(ledger)).toBeGreaterThan(dayMs);
    expect(await redis.pttl(ledger)).toBeLessThanOrEqual(dayMs + deadlineMs);
    expect(await redis.exists(keys.reserved(ledger))).toBe(0);
  });

  test("counts attempts that failed without saying what they cost", async () => {
    const faults = { script: [{ match: "hello", fault: "500" }] } as const;
    await using site = await TestSite.open({ faults: JSON.stringify(faults) }, { GLUELLM_PRICES });
    await using glue = clientOf(site);
    // About $0.41 are held for one.
    const error = await failureOf(glue.complete("hello", { maxTokens: 100, maxCostUsd: 1, maxAttempts: 5 }));
    expect(error).toBeInstanceOf(CostLimitError);
    expect(site.simulator.journal.entries()).toHaveLength(2);
  });

  test("counts what a killed worker's call may have cost", { tags: "long" }, async () => {
    await using site = await TestSite.open({ latencyMs: 60_000 }, { GLUELLM_PRICES, ...SHORT_LOCKS });
    const killed = site.start("worker");
    await using glue = clientOf(site, "fleet");
    const options = { maxTokens: 100, maxCostUsd: 0.6, tools: [] };
    const handle = await glue.enqueue("hello", options);
    await waitFor("the call", () => site.simulator.stats().inFlight === 1);
    killed.child.kill("SIGKILL");
    await killed.exit;
    site.simulator.setLatency({ latencyMs: 5 });
    site.start("worker");
    const error = await failureOf(handle.result());
    expect(error).toBeInstanceOf(CostLimitError);
    expect(error?.context.spentUsd).toBeGreaterThan(0.4);
    expect(site.simulator.journal.entries()).toHaveLength(1);
  });

  test("is refused where a model has no price, also one that is only fallen back to", async () => {
    await using site = await TestSite.open({}, { GLUELLM_PRICES });
    await using glue = clientOf(site, "fleet");
    const refusal = async (model: string | string[]) =>
      (await failureOf(glue.enqueue("hello", { model, maxCostUsd: 1 })))?.code;
    expect(await refusal("simulator:other")).toBe("unpriced_model");
    expect(await refusal([MODEL, "simulator:other"])).toBe("unpriced_model");
    expect(await refusal(MODEL)).toBeUndefined();
    expect((await failureOf(glue.enqueue("hello", { maxCostUsd: 0 })))?.code).toBe("invalid_input");
  });

  test("is --max-cost on the command line, with its exit code", async () => {
    await using site = await TestSite.open({}, { GLUELLM_PRICES });
    const complete = (...args: string[]) => site.run("complete", "hello", "--max-tokens", "100", ...args);
    const [over, unpriced, wrong, fits] = await Promise.all([
      complete("-m", MODEL, "--max-cost", "0.3"),
      complete("-m", "simulator:other", "--max-cost", "1"),
      complete("-m", MODEL, "--max-cost", "none"),
      complete("-m", MODEL, "--max-cost", "2"),
    ]);
    expect(over.code).toBe(4);
    expect(over.stderr).toContain("--max-cost");
    expect(unpriced.code).toBe(3);
    expect(unpriced.stderr).toContain("GLUELLM_PRICES");
    expect(wrong.code).toBe(2);
    expect(fits.code).toBe(0);
    expect(site.simulator.journal.entries()).toHaveLength(1);
  });
});

test("a call under two limits holds nothing of the first when the second has no room", async () => {
  const keys = redisKeys(testNamespace());
  const settings = { prices: { [MODEL]: PRICE } };
  const costs = new CallCosts({
    store: plainStore(redis, keys),
    settings,
    logger: createLogger({ level: "silent", json: true }),
  });
  const [wide, narrow] = [keys.jobCost("wide"), keys.jobCost("narrow")];
  const call = {
    limits: [
      { ledger: wide, of: "conversation" as const },
      { ledger: narrow, of: "job" as const },
    ],
    jobId: "job-1",
    model: modelRef("simulator", "test"),
    request: { messages: [{ role: "user" as const, content: "hello" }], max_tokens: 100 },
    estimate: () => ({ input: 10, output: 100 }),
    timeoutMs: 1000,
    signal: new AbortController().signal,
  };
  const booked = async (ledger: string) =>
    (await redis.hmget(ledger, "spentUsd", "reservedUsd")).map((text) => Number(text));
  try {
    await redis.hset(wide, "maxCostUsd", "10");
    await redis.hset(narrow, "maxCostUsd", "0.3");
    expect(await failureOf(costs.hold(call))).toBeInstanceOf(CostLimitError);
    expect(await booked(wide)).toEqual([0, 0]);
    await redis.hset(narrow, "maxCostUsd", "1");
    const outlay = await costs.hold(call);
    expect(await booked(wide)).toEqual([0, 0.41]);
    await outlay.settle({ prompt: 10, completion: 20, total: 30, cached: 0 });
    for (const ledger of [wide, narrow]) expect(await booked(ledger)).toEqual([0.09, 0]);
  } finally {
    await redis.del(wide, narrow, keys.reserved(wide), keys.reserved(narrow));
  }
});
