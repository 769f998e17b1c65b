import { join } from "node:path";
import { expect, inject, test } from "vitest";
import type { LaneStatus } from "../../src/shared/records.ts";
import type { BatchPlanChange } from "../../src/simulator/batches/plan.ts";
import { viewBatch } from "../../src/store/batch.ts";
import { readBuys } from "../../src/store/lane-buy.ts";
import { readPool } from "../../src/store/lane-pools.ts";
import type { Store } from "../../src/store/store.ts";
import { laneSite } from "../support/lane-site.ts";
import { sampleOf } from "../support/sample.ts";
import { CLAUDE_MODEL, MODEL, NATIVE_MODEL, type TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* What goes wrong with provider batches: the state is told, and nothing is bought twice. */

const ROWS = 12;
const SHIFTED = join(import.meta.dirname, "../support/shifted-clock.ts");
const batchOf = (model: string, ...more: string[]) => [
  ...["batch", "run", "in.jsonl", "-o", "out.jsonl", "-m", model],
  ...more,
];

const lanesOf = (site: TestSite) =>
  site.simulator.journal.entries().flatMap(({ status, lane }) => (status === 200 ? [lane] : []));
const eachOnce = (site: TestSite) => expect([...site.paidCalls().values()]).toEqual(Array(ROWS).fill(1));
async function idOf({ redis, keys }: Store): Promise<string> {
  const [id = ""] = await redis.zrange(keys.batches, "0", "-1");
  return id;
}
async function statesOf(store: Store): Promise<string[]> {
  const id = await idOf(store);
  if (id === "") return [];
  return ((await viewBatch(store, id)) as { lanes: LaneStatus[] }).lanes.map(({ state }) => state);
}
/** The provider batches of the account that has no key. */
async function batchesOf(site: TestSite) {
  const headers = { authorization: "Bearer none" };
  const answer = await fetch(`${site.simulator.url}/v1/batches?limit=100`, { headers });
  const { data } = (await answer.json()) as {
    data: { id: string; status: string; request_counts: { completed: number } }[];
  };
  return data;
}

/** Sets the clock of the processes that run from now on. */
function shiftedBy(site: TestSite, hours: number): Record<string, string> {
  site.write("shift", [hours * 3_600_000]);
  return { NODE_OPTIONS: `--import ${SHIFTED}`, SHIFT_FILE: site.path("shift") };
}

interface Case {
  name: string;
  model: string;
  plan?: BatchPlanChange;
  env?: Record<string, string>;
  hoursAhead?: number;
}

/** After each of these all rows are bought in provider batches, once. */
const CASES: Case[] = [MODEL, CLAUDE_MODEL].flatMap((model) => [
  { name: "the clock is three hours ahead", model, plan: { loseCreateAnswers: 1 }, hoursAhead: 3 },
  { name: "the clock is three hours behind", model, plan: { loseCreateAnswers: 1 }, hoursAhead: -3 },
  {
    name: "the list names a batch late",
    model,
    plan: { loseCreateAnswers: 1, listLagMs: 1_500_000, repeatsInLists: true },
    env: { GLUELLM_LANE_POLL_MS: "800" },
  },
  { name: "results are cut off twice", model, plan: { cutResults: 2 } },
]);

test.each(sampleOf("lane faults", CASES, 1))(
  "$model: $name: every row is bought once",
  async ({ model, plan = {}, env = {}, hoursAhead = 0 }) => {
    const { site, store } = await laneSite(plan, env);
    await using _ = site;
    site.write("in.jsonl", site.rows(ROWS));
    const run = site.startWith(shiftedBy(site, hoursAhead), ...batchOf(model, "--by", "1h"));
    expect(await run.exit).toBe(0);
    eachOnce(site);
    expect(new Set(lanesOf(site))).toEqual(new Set(["batch"]));
    expect((await readBuys(store, await idOf(store))).buys).toEqual([]);
  },
);

const full = test.runIf(inject("isFull"));

full.each([3, -3])(
  "the clock moves by %d hours while a batch is waited for: every row is bought once",
  async (hours) => {
    const { site, store } = await laneSite({ durationMs: 3_000_000 });
    await using _ = site;
    site.write("in.jsonl", site.rows(ROWS));
    const run = site.startWith(shiftedBy(site, 0), ...batchOf(MODEL, "--by", "1h"));
    await waitFor("the provider's batch", async () => (await statesOf(store)).includes("in_progress"));
    shiftedBy(site, hours);
    expect(await run.exit).toBe(0);
    eachOnce(site);
  },
);

full.each([MODEL, CLAUDE_MODEL])(
  "the results of a batch of %s are gone: its rows fail, and are bought again only when that is asked for",
  async (model) => {
    const { site } = await laneSite({ areResultsGone: true });
    await using _ = site;
    site.write("in.jsonl", site.rows(ROWS));
    const run = await site.run(...batchOf(model, "--by", "1h"));
    expect([run.code, run.stderr]).toEqual([1, expect.stringContaining("results_expired")]);
    site.simulator.setBatches({ areResultsGone: false });
    expect((await site.run(...batchOf(model, "--by", "1h"))).code).toBe(1);
    eachOnce(site);
    expect((await site.run(...batchOf(model, "--by", "1h", "--retry-failed"))).code).toBe(0);
    expect([...site.paidCalls().values()]).toEqual(Array(ROWS).fill(2));
  },
);

full("results that stay cut off: what they tell is kept, the other rows fail", async () => {
  const { site } = await laneSite({ cutResults: 1e6 });
  await using _ = site;
  site.write("in.jsonl", site.rows(ROWS));
  expect((await site.run(...batchOf(MODEL, "--by", "1h"))).code).toBe(1);
  eachOnce(site);
  const failed = site.read("out.errors.jsonl").map(({ error }) => (error as { code: string }).code);
  expect(failed).toEqual(Array(ROWS / 2).fill("results_expired"));
});

full(
  "a provider that does not know a batch: its rows wait until it does, or are bought when that is asked for",
  async () => {
    const { site, store } = await laneSite({ durationMs: 1e9 });
    await using _ = site;
    site.write("in.jsonl", site.rows(ROWS));
    const run = site.startWith({ SIMULATOR_API_KEY: "one" }, ...batchOf(MODEL, "--by", "1h"));
    await waitFor("the provider's batch", async () => (await statesOf(store)).includes("in_progress"));
    run.child.kill("SIGKILL");
    await run.exit;
    // The key is another account's.
    const other = site.startWith({ SIMULATOR_API_KEY: "two" }, ...batchOf(MODEL, "--by", "2s"));
    await waitFor("the state", async () => (await statesOf(store)).includes("unknown"));
    other.child.kill("SIGKILL");
    await other.exit;
    const back = site.startWith({ SIMULATOR_API_KEY: "one" }, ...batchOf(MODEL, "--by", "2s"));
    expect(await back.exit).toBe(0);
    eachOnce(site);
  },
);

full(
  "a pool of tokens that is too small for all is learned: smaller batches, one after the other",
  async () => {
    const pool = 150;
    const { site, store } = await laneSite({ tokenPool: pool, durationMs: 1000 });
    await using _ = site;
    site.write(
      "in.jsonl",
      site.rows(40, (n) => `question ${n} ${"of many words ".repeat(3)}`),
    );
    expect((await site.run(...batchOf(MODEL, "--by", "1h"))).code).toBe(0);
    expect([...site.paidCalls().values()]).toEqual(Array(40).fill(1));
    expect(new Set(lanesOf(site))).toEqual(new Set(["batch"]));
    expect(await readPool(store, MODEL)).toBe(pool);
    const refused = async () => (await batchesOf(site)).filter(({ status }) => status === "failed").length;
    const before = await refused();
    expect(before).toBeGreaterThan(0);
    // Another batch knows.
    site.write(
      "in.jsonl",
      site.rows(40, (n) => `another ${n} ${"of many words ".repeat(3)}`),
    );
    expect(
      (await site.run("batch", "run", "in.jsonl", "-o", "other.jsonl", "-m", MODEL, "--by", "1h")).code,
    ).toBe(0);
    expect(await refused()).toBe(before);
  },
);

full(
  "somebody cancels a provider batch half done: what it did is kept, the rest is bought in another one",
  async () => {
    const { site } = await laneSite({ durationMs: 4_000_000 });
    await using _ = site;
    site.write("in.jsonl", site.rows(ROWS));
    const run = site.start(...batchOf(MODEL, "--by", "1h"));
    await waitFor("half of it", async () => ((await batchesOf(site))[0]?.request_counts.completed ?? 0) > 2);
    site.simulator.setBatches({ durationMs: 1000 });
    const [made] = await batchesOf(site);
    await fetch(`${site.simulator.url}/v1/batches/${made?.id}/cancel`, {
      method: "POST",
      headers: { authorization: "Bearer none" },
    });
    expect(await run.exit).toBe(0);
    eachOnce(site);
    expect(await batchesOf(site)).toHaveLength(2);
  },
);

full(
  "what cannot be bought in a lane is refused with its reason, or goes another way and says so",
  async () => {
    const { site } = await laneSite();
    await using _ = site;
    site.write("in.jsonl", site.rows(3));
    const past = await site.run(...batchOf(MODEL, "--by", "2020-01-01T00:00:00Z"));
    expect([past.code, past.stderr]).toEqual([2, expect.stringContaining("2020-01-01T00:00:00Z has passed")]);
    expect(site.simulator.journal.entries()).toHaveLength(0);
    const native = await site.run(...batchOf(NATIVE_MODEL, "--by", "1h", "--lanes", "batch,online"));
    expect(native.code).toBe(0);
    expect(native.stderr).toContain("rows of native:test go by single calls: native has no provider batches");
    expect(lanesOf(site)).toEqual(Array(3).fill("online"));
    const messages = [{ role: "user", content: "streamed" }];
    const line = { method: "POST", url: "/v1/chat/completions" };
    site.write("in.jsonl", [
      { custom_id: "a", ...line, body: { model: MODEL, messages, stream: true } },
      { custom_id: "b", ...line, body: { model: MODEL, messages } },
    ]);
    const streamed = await site.run(
      "batch",
      "run",
      "in.jsonl",
      "-o",
      "streamed.jsonl",
      "-m",
      MODEL,
      "--by",
      "1h",
    );
    expect(streamed.code).toBe(1);
    expect(site.read("streamed.errors.jsonl")).toMatchObject([
      { custom_id: "a", error: { message: expect.stringContaining("stream") } },
    ]);
    expect(lanesOf(site).at(-1)).toBe("batch");
  },
);
