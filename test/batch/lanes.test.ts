import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { BatchPlanChange } from "../../src/simulator/batches/plan.ts";
import { readBuys } from "../../src/store/lane-buy.ts";
import { testStore } from "../support/redis.ts";
import { CLAUDE_MODEL, MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* Rows that are bought in their providers' batches, under a deadline. */

const PRICES = JSON.stringify({ "*": { inputPerMillion: 1e6, outputPerMillion: 1e6 } });

async function laneSite(plan: BatchPlanChange = {}, env: Record<string, string> = {}) {
  const site = await TestSite.open(
    { batchSpeed: 1000 },
    {
      GLUELLM_LANE_POLL_MS: "50",
      GLUELLM_LANE_RESERVE_MS: "1000",
      GLUELLM_PRICES: PRICES,
      ...env,
    },
  );
  // Its minutes are milliseconds here: the plan knows it from what it has seen.
  const store = testStore(site.namespace);
  const seen = JSON.stringify(Array.from({ length: 50 }, () => 300));
  for (const model of [MODEL, CLAUDE_MODEL]) await store.redis.hset(store.keys.laneDurations, model, seen);
  site.simulator.setBatches({ durationMs: 200_000, ...plan });
  return { site, store };
}

const lanesOf = (site: TestSite) =>
  Object.groupBy(
    site.simulator.journal.entries().filter(({ status }) => status === 200),
    ({ lane }) => lane,
  );
const reportOf = (site: TestSite) =>
  JSON.parse(readFileSync(site.path("r.json"), "utf8")) as { costUsd: number };
const idOf = (store: ReturnType<typeof testStore>) =>
  store.redis.zrange(store.keys.batches, "0", "-1").then((ids) => ids[0] ?? "");

test.each([MODEL, CLAUDE_MODEL])(
  "rows of %s are bought in a provider batch at half the price, each once",
  { tags: "long" },
  async (model) => {
    const { site, store } = await laneSite();
    await using _ = site;
    site.write("in.jsonl", site.rows(30));
    const run = await site.run(
      "batch",
      "run",
      "in.jsonl",
      "-o",
      "out.jsonl",
      "-m",
      model,
      "--by",
      "2h",
      "--report",
      "r.json",
    );
    expect([run.code, run.stderr]).toEqual([0, expect.any(String)]);
    expect(site.read("out.jsonl").map(({ custom_id, lane }) => [custom_id, lane])).toEqual(
      site.rows(30).map(({ custom_id }) => [custom_id, "batch"]),
    );
    expect(Object.keys(lanesOf(site))).toEqual(["batch"]);
    expect([...site.paidCalls().values()]).toEqual(Array(30).fill(1));
    const tokens = site.simulator.journal
      .entries()
      .reduce((sum, one) => sum + one.promptTokens + one.completionTokens, 0);
    expect(reportOf(site).costUsd).toBeCloseTo(tokens / 2, 6);
    expect((await readBuys(store, await idOf(store))).rows.size).toBe(0);
    // Run again it costs nothing, and knows what it cost.
    const again = await site.run(
      "batch",
      "run",
      "in.jsonl",
      "-o",
      "out.jsonl",
      "-m",
      model,
      "--report",
      "r.json",
    );
    expect(again.code).toBe(0);
    expect(reportOf(site).costUsd).toBeCloseTo(tokens / 2, 6);
    expect(site.simulator.journal.entries()).toHaveLength(30);
  },
);

test("what a batch has not done in time is bought online: nothing twice, all by then", async () => {
  const { site } = await laneSite({ durationMs: 1e8 });
  await using _ = site;
  site.write("in.jsonl", site.rows(20));
  const run = await site.run(...site.batch("--by", "6s", "--lanes", "batch,online"));
  expect(run.code).toBe(0);
  expect(site.countLines("out.jsonl")).toBe(20);
  expect([...site.paidCalls().values()]).toEqual(Array(20).fill(1));
  expect(lanesOf(site).online?.length).toBeGreaterThan(0);
});

test("options of lanes without a deadline are refused, and nothing is bought", async () => {
  const { site } = await laneSite();
  await using _ = site;
  site.write("in.jsonl", site.rows(1));
  const run = await site.run(...site.batch("--lanes", "batch"));
  expect([run.code, run.stderr]).toEqual([2, expect.stringContaining("--lanes says nothing without --by")]);
  expect(site.simulator.journal.entries()).toHaveLength(0);
});

test("a batch that expires half done keeps what it did; rows that it failed are asked again", async () => {
  const { site } = await laneSite({ speed: 1e6, expire: { times: 1, doneShare: 0.5 } });
  await using _ = site;
  site.write("in.jsonl", site.rows(20));
  expect((await site.run(...site.batch("--by", "20s"))).code).toBe(0);
  expect([...site.paidCalls().values()]).toEqual(Array(20).fill(1));
});

test.each([MODEL, CLAUDE_MODEL])(
  "the answer to making a batch of %s is lost: it is found again, not bought again",
  async (model) => {
    const { site } = await laneSite({ loseCreateAnswers: 1 });
    await using _ = site;
    site.write("in.jsonl", site.rows(10));
    const run = await site.run("batch", "run", "in.jsonl", "-o", "out.jsonl", "-m", model, "--by", "1h");
    expect(run.code).toBe(0);
    expect([...site.paidCalls().values()]).toEqual(Array(10).fill(1));
    expect(Object.keys(lanesOf(site))).toEqual(["batch"]);
  },
);

test("a batch that is refused for its tokens, or fails, leaves its rows to smaller ones, or to single calls", async () => {
  const { site } = await laneSite({ failValidation: 1 });
  await using _ = site;
  site.write("in.jsonl", site.rows(10));
  expect((await site.run(...site.batch("--by", "1h"))).code).toBe(0);
  expect(Object.keys(lanesOf(site))).toEqual(["flex"]);
});

test("a run that is killed goes on with the batches that it had bought", { tags: "long" }, async () => {
  const { site, store } = await laneSite({ durationMs: 3_000_000 });
  await using _ = site;
  site.write("in.jsonl", site.rows(20));
  const run = site.start(...site.batch("--by", "1h"));
  await waitFor("the provider's batch", async () => {
    const { buys } = await readBuys(store, await idOf(store));
    return buys.some(({ state }) => state === "created");
  });
  run.child.kill("SIGKILL");
  await run.exit;
  // Without --by too: what was bought is not bought again.
  expect((await site.run(...site.batch())).code).toBe(0);
  expect([...site.paidCalls().values()]).toEqual(Array(20).fill(1));
  expect(Object.keys(lanesOf(site))).toEqual(["batch"]);
});
