import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { z } from "zod";
import { backfill } from "../../src/history/backfill.ts";
import { HistoryConsumer } from "../../src/history/consumer.ts";
import type { HistoryDatabase } from "../../src/history/database.ts";
import { jobs, rowCounts } from "../../src/history/lists.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { pastRun } from "../../src/history/past-run.ts";
import { failures, spend } from "../../src/history/reports.ts";
import { enforceRetention } from "../../src/history/retention.ts";
import { defineTool, defineWorkflow, type GlueError, type GlueLLM } from "../../src/index.ts";
import { HISTORY_TABLES } from "../../src/shared/history-setting.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings, type Settings } from "../../src/shared/settings.ts";
import { saveBatch } from "../../src/store/batch.ts";
import { announceJob, keepHistory } from "../../src/store/outbox.ts";
import { readHistoryLag } from "../../src/store/outbox-reader.ts";
import { startNode } from "../support/processes.ts";
import { failureOf } from "../support/provider.ts";
import { isEncrypted, testNamespace, testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const isFull = inject("isFull");
const seed = inject("seed");
const PROGRAM = join(import.meta.dirname, "../support/history-consumer.ts");
const prices = { [MODEL]: { inputPerMillion: 1000, outputPerMillion: 1000 } };
const silent = createLogger({ level: "silent", json: true });

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_PRICES: JSON.stringify(prices), GLUELLM_HISTORY: "true" });
});
afterAll(() => site[Symbol.asyncDispose]());

/** Settings of a namespace of its own, with a history of its own. */
function settingsOf(namespace = testNamespace()): Settings {
  const own = { GLUELLM_NAMESPACE: namespace, GLUELLM_DATA_DIR: site.path(namespace) };
  return loadSettings({ env: { ...site.env, ...own }, cwd: "/" });
}

async function historyOf(settings: Settings): Promise<HistoryDatabase> {
  const history = await openHistory(settings);
  onTestFinished(() => history.close());
  return history;
}

const step = defineTool({
  name: "step",
  description: "A step.",
  parameters: z.object({}),
  execute: () => "done",
});
const poem = defineWorkflow({
  name: "poem",
  input: z.string(),
  output: z.string(),
  run: async (ctx, about) => (await ctx.complete("write", about)).finalResponse,
});

test("what ends is in the database with all that it cost, and backfill finds the same", async () => {
  const settings = settingsOf();
  const glue: GlueLLM = openClient(site, { mode: "local", settings, tools: [step], workflows: [poem] });
  const consumer = new HistoryConsumer({
    ...{ store: testStore(settings.namespace), settings },
    logger: silent,
    idleMs: 20,
  });
  const history = await historyOf(settings);
  await waitFor("ends are written down", () =>
    testStore(settings.namespace).redis.exists(`{gluellm:${settings.namespace}}:outbox`),
  );
  const turns = [{ toolCalls: [{ name: "step" }] }, { reply: "an answer" }];
  const answered = await glue.complete(`who?\n#sim ${JSON.stringify({ turns })}`, { tools: ["step"] });
  const refused = (await failureOf(glue.complete('no\n#sim {"error":"400"}'))) as GlueError;
  const handle = await glue.workflows.start(poem, "a poem");
  await handle.result();

  const all = { since: 0 };
  await waitFor("the run is in the history", () => pastRun(history, handle.id));
  const found = await waitFor("the jobs are too", async () => {
    const list = await jobs(history, all);
    return list.length === 3 ? list : undefined;
  });
  expect(found.find(({ state }) => state === "failed")).toMatchObject({
    errorCode: refused.code,
    prompt: expect.stringMatching(isEncrypted ? /^enc1\./ : /^no/),
  });
  const ours = found.find(({ calls }) => calls === 2);
  expect(ours).toMatchObject({
    answer: isEncrypted ? expect.stringMatching(/^enc1\./) : "an answer",
    costUsd: answered.costUsd,
    promptTokens: answered.tokensUsed.prompt,
  });
  const [spent] = await spend(history, all);
  expect(spent).toMatchObject({ group: { model: MODEL }, calls: 3, unpriced: 0 });
  expect(spent?.costUsd).toBeCloseTo(
    found.reduce((sum, { costUsd }) => sum + (costUsd ?? 0), 0),
    9,
  );
  expect(await failures(history, all)).toMatchObject([
    { group: { code: refused.code }, count: 1, example: { source: "job" } },
  ]);
  expect(await pastRun(history, handle.id)).toMatchObject({
    ...{ workflow: "poem", state: "succeeded" },
    steps: [{ step: "write", kind: "completion", subject: MODEL, state: "succeeded", isReused: false }],
  });
  await consumer.close();

  const again = await openHistory({ ...settings, namespace: `${settings.namespace}-again` });
  const store = testStore(settings.namespace);
  for (let time = 0; time < 2; time++) {
    expect(await backfill(store, again, settings.history)).toMatchObject({ jobs: 3, runs: 1, unreadable: 0 });
    expect(await rowCounts(again)).toMatchObject({ jobs: 3, runs: 1, steps: 1, errors: 1 });
  }
  expect((await jobs(again, all)).map(({ id, costUsd }) => [id, costUsd]).sort()).toEqual(
    found.map(({ id, costUsd }) => [id, costUsd]).sort(),
  );
  // What the outbox said stays, and no failure counts twice.
  await backfill(store, history, settings.history);
  expect(await rowCounts(history)).toMatchObject({ jobs: 3, runs: 1, steps: 1, errors: 1 });
  expect(await failures(history, all)).toMatchObject([{ group: { code: refused.code }, count: 1 }]);
  expect((await jobs(history, all)).find(({ id }) => id === ours?.id)).toEqual(ours);
  await again.close();
  await glue.close();
});

/** Ends of jobs, without their work. */
async function announce(store: ReturnType<typeof testStore>, count: number, from = 0): Promise<void> {
  await keepHistory(store, { forMs: 60_000, maxEntries: 100_000 });
  const ends = Array.from({ length: count }, (_, n) =>
    announceJob(store, { id: `job-${from + n}`, queue: "q", errorCode: "corrupt_data", attempts: 1 }),
  );
  await Promise.all(ends);
}

test("consumers are killed at any moment, and two work at once: each end is there once", {
  tags: "long",
}, async () => {
  const settings = settingsOf();
  const store = testStore(settings.namespace);
  const count = isFull ? 20_000 : 3000;
  const kills = isFull ? 30 : 2;
  await announce(store, count);
  const env = {
    ...site.env,
    ...{ GLUELLM_NAMESPACE: settings.namespace, GLUELLM_DATA_DIR: settings.dataDir },
  };
  let random = seed;
  for (let n = 0; n < kills; n++) {
    const process = startNode([PROGRAM], { env });
    await waitFor("it consumes", () => process.stderr().includes("consuming"));
    random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
    const left = (await readHistoryLag(store)).waiting;
    await waitFor(
      "it has written something",
      async () => (await readHistoryLag(store)).waiting < left || left === 0,
    );
    await new Promise((resolve) => setTimeout(resolve, random % 30));
    process.child.kill("SIGKILL");
    await process.exit;
  }
  const consumers = [1, 2].map(() => new HistoryConsumer({ store, settings, logger: silent, idleMs: 20 }));
  await announce(store, 100, count);
  await waitFor("all is written", async () => (await readHistoryLag(store)).waiting === 0);
  await Promise.all(consumers.map((consumer) => consumer.close()));
  const history = await historyOf(settings);
  expect(await rowCounts(history)).toMatchObject({
    jobs: count + 100,
    errors: count + 100,
    calls: count + 100,
  });

  const none = Object.fromEntries(
    HISTORY_TABLES.map((table) => [table, 60_000]),
  ) as Settings["history"]["retentionMs"];
  const later = Date.now() + 3_600_000;
  const rules = { retentionMs: { ...none, errors: 1e13 }, contentsMs: undefined, maxRows: {} };
  expect(await enforceRetention(history, rules, { now: later })).toEqual({
    jobs: count + 100,
    calls: count + 100,
  });
  expect(await rowCounts(history)).toMatchObject({ jobs: 0, errors: count + 100 });
});

test("a batch whose record is damaged keeps nothing else from being written", async () => {
  const settings = settingsOf();
  const store = testStore(settings.namespace);
  await keepHistory(store, { forMs: 60_000, maxEntries: 100_000 });
  await saveBatch(store, { id: "batch_1", status: "completed", createdAt: Date.now() });
  await store.redis.set(store.keys.batch("batch_1"), "damaged");
  await announce(store, 1);
  const consumer = new HistoryConsumer({ store, settings, logger: silent, idleMs: 20 });
  await waitFor("all is written", async () => (await readHistoryLag(store)).waiting === 0);
  await consumer.close();
  expect(await rowCounts(await historyOf(settings))).toMatchObject({ batches: 1, jobs: 1 });
});

test.skipIf(!isFull)("a locked file delays what ends, and loses none of it", async () => {
  const settings = settingsOf();
  const store = testStore(settings.namespace);
  const history = await historyOf(settings);
  const other = new DatabaseSync(history.place);
  other.exec("BEGIN IMMEDIATE");
  const lines: string[] = [];
  const logger = createLogger({ level: "info", json: true });
  logger.warn = ((_: unknown, message: string) => lines.push(message)) as never;
  const consumer = new HistoryConsumer({ store, settings, logger, idleMs: 20 });
  await announce(store, 500);
  await waitFor("it is said", () => lines.length > 0);
  expect((await readHistoryLag(store)).waiting).toBe(500);
  other.exec("COMMIT");
  other.close();
  await waitFor("all is written", async () => (await readHistoryLag(store)).waiting === 0);
  expect(lines).toEqual(["the history cannot be written; what ends waits in Redis"]);
  await consumer.close();
  expect(await rowCounts(history)).toMatchObject({ jobs: 500 });
});
