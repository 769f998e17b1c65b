import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { BatchQuote } from "../../src/batch/quote/quote.ts";
import { laneSite } from "../support/lane-site.ts";
import { CLAUDE_MODEL, MODEL, SHORT_LOCKS, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* What a batch may cost and take, told by a sample of its rows, which are not paid again. */

const PRICES = JSON.stringify({ "*": { inputPerMillion: 1e5, outputPerMillion: 2e5 } });
const open = (options = {}) =>
  TestSite.open({ latencyMs: 20, ...options }, { GLUELLM_PRICES: PRICES, ...SHORT_LOCKS });
/** Answers of 10 to 400 tokens, none longer because its row comes later. */
const rowsOf = (site: TestSite, count: number) =>
  site.rows(
    count,
    (n) => `question ${n}\n#sim ${JSON.stringify({ reply: "x", tokens: 10 + ((n * 7919) % 391) })}`,
  );
const quoteOf = (stdout: string) => JSON.parse(stdout) as BatchQuote;

test("a quote asks a sample from all over the file; the run takes it over, pays nothing twice and says how far it was off", {
  tags: "long",
}, async () => {
  await using site = await open();
  site.write("in.jsonl", rowsOf(site, 200));
  const run = await site.run(
    "batch",
    "quote",
    "in.jsonl",
    "-m",
    MODEL,
    "--sample",
    "20",
    "--by",
    "8h",
    "--json",
  );
  // A starved machine renews locks late, which is logged and does no harm.
  const told = run.stderr.replace(/^\[.*could not renew lock for job .*\n/gm, "");
  expect([run.code, told]).toEqual([0, ""]);
  const quote = quoteOf(run.stdout);
  expect(quote.rows).toEqual({ total: 200, left: 180, sampled: 20, failed: 0 });
  const asked = site.simulator.journal
    .entries()
    .map(({ lastUserText }) => Number(/question (\d+)/.exec(lastUserText)?.[1]));
  expect(asked).toHaveLength(20);
  expect([Math.min(...asked) < 60, Math.max(...asked) > 140]).toEqual([true, true]);
  const { online, batch, flex } = quote.lanes;
  const { p10, p50, p90 } = online.costUsd ?? { p10: 0, p50: 0, p90: 0 };
  expect([quote.spentUsd! < p10, p10 < p50, p50 < p90]).toEqual([true, true, true]);
  // What the sample cost was paid in full.
  expect(batch?.costUsd?.p50).toBeCloseTo(quote.spentUsd! + (p50 - quote.spentUsd!) / 2, -1);
  expect(flex?.durationMs).toBeNull();
  expect(quote.by?.costUsd?.p50).toBeLessThan(p50);
  expect(quote.by?.chance).toBeGreaterThan(0.9);
  // Asked again it is the same sample, and costs nothing.
  const again = await site.run("batch", "quote", "in.jsonl", "-m", MODEL, "--sample", "20", "--json");
  expect(quoteOf(again.stdout).lanes.online.costUsd).toEqual(online.costUsd);
  expect(site.simulator.journal.entries()).toHaveLength(20);

  const ran = await site.run(...site.batch("--max-cost", "quote:p90", "--report", "r.json"));
  expect(ran.stderr).toContain("200 of 200 rows succeeded");
  expect(ran.stderr).toMatch(
    /quoted \$[\d,.]+ \(\$[\d,.]+ to \$[\d,.]+\): it cost [\d.]+ % (less|more), within that range/,
  );
  expect([...site.paidCalls().values()]).toEqual(Array(200).fill(1));
  const report = JSON.parse(readFileSync(site.path("r.json"), "utf8"));
  expect(report.quote).toEqual({
    costUsd: online.costUsd,
    costOff: expect.closeTo(report.costUsd / p50 - 1, 3),
    isWithin: true,
  });
  const [id = ""] = /batch_[0-9a-f]{24}/.exec((await site.run("batch", "list")).stdout) ?? [];
  const status = JSON.parse((await site.run("batch", "status", id)).stdout);
  expect(JSON.parse(status.quotedUsd)).toEqual(online.costUsd);
  expect(existsSync(site.path(`in.jsonl.quote-${encodeURIComponent(MODEL)}.partial`))).toBe(false);
});

test("with what was quoted for its limit a batch of short answers is bought in a provider batch, or whole by single calls", {
  tags: "long",
}, async () => {
  const { site } = await laneSite({}, { GLUELLM_PRICES: PRICES, ...SHORT_LOCKS });
  await using _ = site;
  const short = site.rows(
    90,
    (n) => `short ${n}\n#sim ${JSON.stringify({ reply: "x", tokens: 20 + (n % 9) })}`,
  );
  site.write("in.jsonl", short);
  const by = ["--by", "8h"];
  for (const lanes of [by, []]) {
    const out = `out-${lanes.length}.jsonl`;
    const batch = ["in.jsonl", "-o", out, "-m", MODEL, ...lanes];
    expect((await site.run("batch", "quote", ...batch, "--sample", "20")).code).toBe(0);
    // The first calls are held at 500 tokens each: those that wait for money learn that they take less.
    const run = await site.run("batch", "run", ...batch, "--max-cost", "quote:p90");
    expect([run.code, run.stderr]).toEqual([0, expect.stringContaining("90 of 90 rows succeeded")]);
    const inBatches = site.read(out).filter(({ lane }) => lane === "batch");
    expect(inBatches).toHaveLength(lanes === by ? 70 : 0);
  }
});

test("a sample that is killed goes on; a file of fewer rows than the sample is quoted exactly; each model has its share", {
  tags: "long",
}, async () => {
  await using site = await open({ latencyMs: 300 });
  const rows = rowsOf(site, 40).map((row, n) => ({
    ...row,
    model: n < 30 ? MODEL : CLAUDE_MODEL,
    max_tokens: 500,
  }));
  site.write("in.jsonl", rows);
  const quote = [
    "batch",
    "quote",
    "in.jsonl",
    "-o",
    "out.jsonl",
    "--sample",
    "12",
    "--concurrency",
    "3",
    "--json",
  ];
  const killed = site.start(...quote);
  const paid = () => site.simulator.journal.entries().filter(({ status }) => status === 200).length;
  await waitFor("some answers", () => paid() >= 4);
  killed.child.kill("SIGKILL");
  await killed.exit;
  const went = await site.run(...quote);
  expect([went.code, went.stderr]).toEqual([0, ""]);
  expect(quoteOf(went.stdout).rows).toMatchObject({ total: 40, left: 40 - 9 - 8, sampled: 9 + 8 });
  const whole = await site.run(...quote.map((word) => (word === "12" ? "100" : word)));
  const { rows: counts, lanes, spentUsd } = quoteOf(whole.stdout);
  expect(counts).toMatchObject({ left: 0, sampled: 40 });
  expect(lanes.online.costUsd).toEqual({ p10: spentUsd, p50: spentUsd, p90: spentUsd });
  // Whatever was in flight at the kill may be paid again.
  expect(site.simulator.journal.entries().length).toBeLessThanOrEqual(40 + 6);
  expect((await site.run("batch", "run", "in.jsonl", "-o", "out.jsonl")).code).toBe(0);
  expect(site.simulator.journal.entries().length).toBeLessThanOrEqual(40 + 6);
});

test("no price, no quote yet, a provider that refuses all, a limit that is none: each is said", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open();
  site.write("in.jsonl", site.rows(50));
  const missing = await site.run(...site.batch("--max-cost", "quote:p90"));
  expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining("has no quote")]);
  const wrong = await site.run(...site.batch("--max-cost", "quote:p99"));
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("quote:p90")]);
  const unpriced = await site.run("batch", "quote", "in.jsonl", "-m", MODEL, "--sample", "5");
  expect([unpriced.code, unpriced.stdout]).toEqual([0, expect.stringContaining("no price is known")]);
  site.simulator.setFaults({ "401": 1 });
  const refused = await site.run("batch", "quote", "in.jsonl", "-m", CLAUDE_MODEL, "--sample", "5");
  expect([refused.code, refused.stdout]).toEqual([3, ""]);
});
