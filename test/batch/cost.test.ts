import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { listBatches } from "../../src/store/batch.ts";
import { reserveCost, settleCost } from "../../src/store/cost-ledger.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { readRecord } from "../../src/store/result-record.ts";
import { plainStore, storeOf } from "../../src/store/store.ts";
import { NO_CHOICE, type OddCall, oddSite } from "../support/odd-provider.ts";
import { testNamespace, testRedis, testRing } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const PRICE = { inputPerMillion: 1000, outputPerMillion: 4000 };
const GLUELLM_PRICES = JSON.stringify({ "simulator:test": PRICE });

/** USD of all calls that the simulator answered or began to answer. */
function journalUsd(site: TestSite): number {
  const entries = site.simulator.journal.entries().filter(({ status }) => status === 200);
  return entries.reduce(
    (sum, { promptTokens, completionTokens }) =>
      sum + (promptTokens * PRICE.inputPerMillion + completionTokens * PRICE.outputPerMillion) / 1e6,
    0,
  );
}

const reportOf = (site: TestSite) => JSON.parse(readFileSync(site.path("report.json"), "utf8"));

async function recordOf(site: TestSite) {
  const redis = testRedis();
  const [record] = await listBatches(storeOf(redis, site.namespace));
  redis.disconnect();
  return record!;
}

describe.concurrent("what a batch costs", () => {
  test("is in the report, in the lines on the screen and in its status, over all runs", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({ latencyMs: 40 }, { GLUELLM_PRICES });
    site.write("in.jsonl", site.rows(60));
    const killed = site.start(...site.batch("--concurrency", "4"));
    await waitFor("20 answers", () => site.paidCalls().size > 20);
    killed.child.kill("SIGINT");
    expect(await killed.exit).toBe(130);
    const run = await site.run(...site.batch("--report", "report.json"));
    expect(run.code).toBe(0);
    const { costUsd, tokens } = reportOf(site);
    expect(costUsd).toBeCloseTo(journalUsd(site), 9);
    expect(tokens).toMatchObject({ cached: 0, total: tokens.prompt + tokens.completion });
    expect(run.stderr).toMatch(/\$\d+\.\d\d of about \$\d+\.\d\d ·/);
    expect(run.stderr).toContain(`cost $${costUsd.toFixed(2)}`);
    expect((await recordOf(site)).costUsd).toBeCloseTo(costUsd, 9);
    const again = await site.run(...site.batch("--report", "report.json"));
    expect(again.stderr).toContain("no provider call");
    expect(reportOf(site).costUsd).toBeCloseTo(costUsd, 9);
  });

  test("is unknown, not 0, without a price; that is said once", { tags: "long" }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(5));
    const run = await site.run(...site.batch("--report", "report.json"));
    expect(run.code).toBe(0);
    expect(reportOf(site).costUsd).toBeNull();
    expect(run.stderr.match(/no price is known for simulator:test/g)).toHaveLength(1);
    expect(run.stderr).toContain("cost unknown");
    expect(run.stderr).not.toContain("$");
    const status = await site.run("batch", "status", (await recordOf(site)).id);
    expect(JSON.parse(status.stdout).costUsd).toBeNull();
    const record = JSON.parse((await site.run("complete", "hello", "-m", "simulator:test", "--json")).stdout);
    expect(record).toMatchObject({ costUsd: null, tokensUsed: { cached: 0 } });
  });

  test("is the sum over models with prices of their own", async () => {
    const prices = {
      "simulator:test": PRICE,
      "simulator:b*": { inputPerMillion: 0, outputPerMillion: 0 },
    };
    await using site = await TestSite.open({}, { GLUELLM_PRICES: JSON.stringify(prices) });
    site.write("in.jsonl", [...site.rows(3), { prompt: "free", model: "simulator:b2" }]);
    expect((await site.run(...site.batch("--report", "report.json"))).code).toBe(0);
    const paid = site.simulator.journal.entries().filter(({ model }) => model === "test");
    const expected = paid.reduce((sum, entry) => sum + entry.promptTokens + 4 * entry.completionTokens, 0);
    expect(reportOf(site).costUsd).toBeCloseTo(expected / 1000, 9);
  });
});

test("sums say where they hold a guess, over all runs", async () => {
  const { usage: _, ...unreported } = (NO_CHOICE as { body: { usage: object } }).body;
  const choices = [{ message: { role: "assistant", content: "fine" }, finish_reason: "stop" }];
  const silent = { status: 200, body: { ...unreported, choices } };
  await using odd = await oddSite(({ prompt }) => (prompt === "silent" ? silent : "fine"));
  expect((await odd.batch(["a"])).tokens).not.toHaveProperty("estimated");
  expect((await odd.batch(["a", "silent"])).tokens).toMatchObject({ estimated: true });
  expect((await odd.batch(["a", "silent"])).tokens).toMatchObject({ estimated: true });
  expect(odd.calls).toHaveLength(2);
});

test("answers that cannot be used are paid: they stand in records, report and sums", async () => {
  const unusable = ({ prompt, ofPrompt }: OddCall) =>
    prompt === "never" || (prompt === "later" && ofPrompt === 1);
  await using odd = await oddSite((call) => (unusable(call) ? NO_CHOICE : "fine"), {
    GLUELLM_PRICES: JSON.stringify({ "odd:a": PRICE }),
  });
  // Each call has 10 tokens and an answer of 5.
  const costOf = (calls: number) => (calls * (10 * 1000 + 5 * 4000)) / 1e6;
  const report = await odd.batch(["at once", "later", "never"]);
  expect(report).toMatchObject({ succeeded: 2, failed: 1, tokens: { prompt: 50, completion: 25 } });
  expect(report.costUsd).toBeCloseTo(costOf(5), 9);
  const job = await odd.glue.enqueue("never", { maxAttempts: 3 });
  await expect(job.result()).rejects.toMatchObject({ code: "invalid_response" });
  const redis = testRedis();
  const record = await readRecord(storeOf(redis, odd.site.namespace, testRing()), job.id);
  redis.disconnect();
  expect(record).toMatchObject({ status: "failed", calls: 2, tokens: { total: 30 }, costUsd: costOf(2) });
});

describe.concurrent("--max-cost", () => {
  test("two worker processes stop before the call that would pass it; a higher one finishes the batch", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({ latencyMs: 30 }, { GLUELLM_PRICES });
    const rows = site.rows(120).map((row) => ({ ...row, max_tokens: 120 }));
    site.write("in.jsonl", rows);
    const batch = (...args: string[]) => site.batch("--workers", "2", "--concurrency", "6", ...args);
    const first = await site.run(...batch("--max-cost", "8"));
    expect(first.code).toBe(4);
    expect(first.stderr).toContain("batch stopped (cost_limit)");
    expect(first.stderr).toContain("higher --max-cost");
    expect(first.stderr).toContain("resume with: gluellm batch run in.jsonl");
    const spent = journalUsd(site);
    // One call costs at most about $0.49, with its answer of 120 tokens.
    expect(spent).toBeLessThanOrEqual(8);
    expect(spent).toBeGreaterThan(7.5);
    const stopped = await recordOf(site);
    expect(stopped).toMatchObject({ status: "failed", maxCostUsd: 8 });
    expect(stopped.stop).toContain("cost_limit");
    expect(stopped.spentUsd).toBeCloseTo(spent, 6);

    const calls = site.simulator.journal.entries().length;
    const same = await site.run(...batch("--max-cost", "8"));
    expect(same.code).toBe(4);
    expect(site.simulator.journal.entries()).toHaveLength(calls);

    const last = await site.run(...batch("--max-cost", "100", "--report", "report.json"));
    expect(last.code).toBe(0);
    expect(site.paidCalls().size).toBe(120);
    expect(site.repeatedCalls()).toBe(0);
    expect(reportOf(site).costUsd).toBeCloseTo(journalUsd(site), 9);
    expect(await recordOf(site)).toMatchObject({ status: "completed", maxCostUsd: 100 });
  });

  test("counts what runs without a limit spent, and ends with the option", { tags: "long" }, async () => {
    await using site = await TestSite.open({}, { GLUELLM_PRICES });
    // The signal has eleven seconds until all rows are done.
    const prompt = (n: number) => `question ${n}${n < 30 ? "" : '\n#sim {"latencyMs": 1500}'}`;
    site.write(
      "in.jsonl",
      site.rows(60, prompt).map((row) => ({ ...row, max_tokens: 120 })),
    );
    const run = site.start(...site.batch("--concurrency", "4"));
    await waitFor("20 answers", () => site.paidCalls().size > 20);
    run.child.kill("SIGINT");
    expect(await run.exit).toBe(130);
    const calls = site.simulator.journal.entries().length;
    expect((await site.run(...site.batch("--max-cost", "1"))).code).toBe(4);
    expect(site.simulator.journal.entries()).toHaveLength(calls);
    expect((await site.run(...site.batch())).code).toBe(0);
  });

  test("is refused for a model without a price, before anything is sent", { tags: "long" }, async () => {
    await using site = await TestSite.open();
    site.write("in.jsonl", site.rows(2));
    const run = await site.run(...site.batch("--max-cost", "1"));
    expect(run.code).toBe(3);
    expect(run.stderr).toContain("GLUELLM_PRICES");
    expect(site.simulator.journal.entries()).toEqual([]);
    expect((await site.run(...site.batch("--max-cost", "none"))).code).toBe(2);
  });

  test("refused calls cost nothing of it, and a killed run's calls do not stop the next one", {
    tags: "long",
  }, async () => {
    const script = [{ match: "question 1", times: 3, fault: "429" }];
    const faults = JSON.stringify({ script, retryAfterMs: 50 });
    await using site = await TestSite.open({ latencyMs: 200, faults }, { GLUELLM_PRICES });
    site.write(
      "in.jsonl",
      site.rows(40).map((row) => ({ ...row, max_tokens: 120 })),
    );
    const command = site.batch("--concurrency", "4", "--max-cost", "20");
    const run = site.start(...command);
    await waitFor("10 answers", () => site.paidCalls().size > 10);
    run.child.kill("SIGKILL");
    await run.exit;
    site.simulator.setLatency({ latencyMs: 1, jitterMs: 0 });
    expect((await site.run(...command)).code).toBe(0);
    const { spentUsd, reservedUsd, costUsd } = await recordOf(site);
    expect(reservedUsd).toBe(0);
    expect(spentUsd).toBeGreaterThanOrEqual(costUsd - 1e-9);
    // At most what four calls in flight at the kill were held at.
    expect(spentUsd).toBeLessThanOrEqual(costUsd + 4 * 0.5);
  });
});

test("what a lost worker held counts as spent at the job's next attempt, or once its call must be over", async () => {
  const redis = testRedis();
  const keys = redisKeys(testNamespace());
  const ledger = keys.batch("batch_x");
  const reserve = (jobId: string, callId: string, usd: number, lifeMs = 60_000) =>
    reserveCost(plainStore(redis, keys), { ledger, jobId, callId }, usd, lifeMs);
  const booked = async () => {
    const amounts = await redis.hmget(ledger, "spentUsd", "reservedUsd");
    return amounts.map(Number);
  };
  try {
    await redis.hset(ledger, "maxCostUsd", "1");
    // The second one is the same command again, after a lost connection.
    for (const _ of [1, 2]) expect(await reserve("a", "call 1", 0.3)).toEqual({ kind: "reserved" });
    expect(await booked()).toEqual([0, 0.3]);
    expect(await reserve("a", "call 2", 0.4, 100)).toEqual({ kind: "reserved" });
    expect(await booked()).toEqual([0.3, 0.4]);
    await settleCost(plainStore(redis, keys), { ledger, jobId: "a", callId: "call 1" }, 0);
    expect(await booked()).toEqual([0.3, 0.4]);
    expect(await reserve("b", "call 3", 0.5)).toEqual({ kind: "wait" });
    const over = async () => (await reserve("b", "call 4", 0.5)).kind === "over";
    await waitFor("the end of call 2", over);
    expect(await booked()).toEqual([0.7, 0]);
    expect(await reserve("b", "call 5", 0.3)).toEqual({ kind: "reserved" });
    await settleCost(plainStore(redis, keys), { ledger, jobId: "b", callId: "call 5" }, 0.1);
    expect(await booked()).toEqual([0.8, 0]);
    expect(await reserve("c", "call 6", 0.21)).toEqual({ kind: "over", spentUsd: 0.8, maxCostUsd: 1 });
    expect(await reserve("c", "call 6", 0.2)).toEqual({ kind: "reserved" });
  } finally {
    await redis.del(ledger, keys.reserved(ledger));
    redis.disconnect();
  }
});
