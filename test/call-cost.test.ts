import { afterAll, describe, expect, test } from "vitest";
import { CostLimitError, defineTool, type GlueError, GlueLLM } from "../src/index.ts";
import { redisKeys } from "../src/shared/redis-keys.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { testRedis } from "./support/redis.ts";
import { MODEL, TestSite } from "./support/site.ts";
import { waitFor } from "./support/wait-for.ts";

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

  test("counts what a killed worker's call may have cost", async () => {
    await using site = await TestSite.open({ latencyMs: 60_000 }, { GLUELLM_PRICES });
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
  }, 60_000);

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
