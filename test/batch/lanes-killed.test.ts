import { setTimeout as delay } from "node:timers/promises";
import OpenAI from "openai";
import { expect, inject, test } from "vitest";
import { LEASE_LIFE_MS } from "../../src/shared/records.ts";
import { readLease } from "../../src/store/batch-lease.ts";
import { readBuys } from "../../src/store/lane-buy.ts";
import { ARROWS, type Arrow, by, deadlyWay, type Point } from "../support/lane-deaths.ts";
import { LANE_ENV, laneSite } from "../support/lane-site.ts";
import { testStore } from "../support/redis.ts";
import { sampleOf, seededRandom } from "../support/sample.ts";
import { serveApi, startServer } from "../support/served-api.ts";
import { CLAUDE_MODEL, MODEL, SHORT_LOCKS, type TestSite } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";

/*
 * The process that buys provider batches is killed at each arrow: nothing is bought twice, every row is answered once.
 * `npm run test:full` takes ten seeds of each arrow; a seed chooses provider, file, lanes and the moment.
 */

const SEEDS = 10;

const batchOf = (model: string) => [
  ..."batch run in.jsonl -o out.jsonl --lanes batch,online -m".split(" "),
  model,
  "--by",
];

/** What a seed chooses. */
function choicesOf(name: string, { points }: Arrow) {
  const random = seededRandom(name);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
  return {
    model: pick([MODEL, CLAUDE_MODEL]),
    point: pick(points),
    file: pick(["prompts", "openai", "anthropic"] as const),
    rows: 5 + Math.floor(random() * 30),
    lanes: pick(["batch,online", "batch,flex,online"]),
    random,
  };
}

function rowsOf(site: TestSite, { file, rows, model }: ReturnType<typeof choicesOf>): object[] {
  return site.rows(rows).map(({ custom_id, prompt }) => {
    const messages = [{ role: "user", content: prompt }];
    if (file === "prompts") return { custom_id, prompt };
    if (file === "anthropic") return { custom_id, params: { model, max_tokens: 50, messages } };
    return { custom_id, method: "POST", url: "/v1/chat/completions", body: { model, messages } };
  });
}

const cases = ARROWS.flatMap((arrow) =>
  Array.from({ length: SEEDS }, (_, seed) => ({ arrow, name: arrow.name, seed })),
);

test.each(sampleOf("lane deaths", cases, 1))(
  "killed when $name, seed $seed",
  async ({ arrow, name, seed }) => {
    const choices = choicesOf(`${name} ${seed}`, arrow);
    const { model, point, rows, lanes, random } = choices;
    const { isLate = false } = arrow;
    const { site, store } = await laneSite({ durationMs: isLate ? 1e9 : 500_000 });
    await using _ = site;
    site.write("in.jsonl", rowsOf(site, choices));
    const args = batchOf(model);
    const holder: { kill: () => void } = { kill: () => {} };
    const way = await deadlyWay(site.simulator.url, point, () => holder.kill(), random);
    const run = site.startWith(by(site, way), ...args, isLate ? "8s" : "2h", "--lanes", lanes);
    holder.kill = () => run.child.kill("SIGKILL");
    const code = await run.exit;
    // A death while an answer is on its way may be too late to be one.
    if (point.when !== "sent") expect(code).toBe("SIGKILL");
    // The rest of the providers' time passes.
    site.simulator.setBatches({ durationMs: 1000 });
    const again = await site.run(...args, isLate ? "3s" : "2h", "--lanes", lanes);
    expect([again.code, again.stderr]).toEqual([0, expect.any(String)]);
    expect(site.read("out.jsonl").map(({ custom_id }) => custom_id)).toEqual(
      site.rows(rows).map(({ custom_id }) => custom_id),
    );
    expect([...site.paidCalls().values()], JSON.stringify(choices)).toEqual(Array(rows).fill(1));
    const [id = ""] = await store.redis.zrange(store.keys.batches, "0", "-1");
    const left = await readBuys(store, id);
    expect([left.rows.size, left.buys]).toEqual([0, []]);
  },
);

test.runIf(inject("isFull"))(
  "a process that stands still until another one has taken the batch over buys nothing more",
  async () => {
    const { site, store } = await laneSite({ durationMs: 500_000 });
    await using _ = site;
    site.write("in.jsonl", site.rows(12));
    const frozen: { stop: () => void } = { stop: () => {} };
    const upload: Point = { call: /^POST \/v1\/files$/, when: "sent" };
    const way = await deadlyWay(
      site.simulator.url,
      upload,
      () => frozen.stop(),
      () => 0,
    );
    const run = site.startWith(by(site, way), ...batchOf(MODEL), "2h");
    const stopped = new Promise<void>((resolve) => {
      frozen.stop = () => {
        run.child.kill("SIGSTOP");
        resolve();
      };
    });
    await stopped;
    const [id = ""] = await store.redis.zrange(store.keys.batches, "0", "-1");
    // As if a process elsewhere, with files of its own, had found the lease lapsed.
    const other = { host: "elsewhere", pid: 1, startedAt: "", token: "other" };
    await store.redis.set(store.keys.batchLease(id), JSON.stringify(other), "PX", LEASE_LIFE_MS);
    run.child.kill("SIGCONT");
    expect(await run.exit).not.toBe(0);
    const made = await fetch(`${site.simulator.url}/v1/batches`, {
      headers: { authorization: "Bearer none" },
    });
    expect(await made.json()).toMatchObject({ data: [] });
    await store.redis.del(store.keys.batchLease(id));
    expect((await site.run(...batchOf(MODEL), "2h")).code).toBe(0);
    expect([...site.paidCalls().values()]).toEqual(Array(12).fill(1));
  },
);

test.runIf(inject("isFull")).each(Array.from({ length: SEEDS }, (_, seed) => seed))(
  "the host of a batch of the API is killed, seed %d: another one goes on with what it has bought",
  async (seed) => {
    const random = seededRandom(`host ${seed}`);
    const served = await serveApi({ batchSpeed: 1000, latencyMs: 20 }, { ...LANE_ENV, ...SHORT_LOCKS });
    await using site = served.site;
    site.simulator.setBatches({ durationMs: 3_000_000 });
    const client = new OpenAI({ baseURL: served.baseURL, apiKey: served.apiKey, maxRetries: 0 });
    const questions = Array.from({ length: 12 }, (_, n) => `question ${n}`);
    const { id } = await submitBatch(client, questions, { metadata: { gluellm_by: "6h" } });
    const store = testStore(site.namespace);
    const states = random() < 0.5 ? ["intended", "creating", "created"] : ["created"];
    await waitFor("what it buys", async () =>
      (await readBuys(store, id)).buys.some(({ state }) => states.includes(state)),
    );
    await delay(random() * 200);
    const runner = await readLease(store, id);
    process.kill(runner?.pid ?? 0, "SIGKILL");
    site.start("worker");
    const next = await startServer(site);
    const other = new OpenAI({ baseURL: next.baseURL, apiKey: next.apiKey, maxRetries: 0 });
    const batch = await waitFor("the end", async () => {
      const now = await other.batches.retrieve(id);
      return now.status === "completed" ? now : undefined;
    });
    expect(batch.request_counts).toEqual({ total: 12, completed: 12, failed: 0 });
    expect([...site.paidCalls().values()]).toEqual(Array(12).fill(1));
    const lanes = site.simulator.journal.entries().map(({ lane }) => lane);
    expect(new Set(lanes)).toEqual(new Set(["batch"]));
  },
);
