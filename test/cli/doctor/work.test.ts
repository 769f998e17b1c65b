import { Worker } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { providerChecks } from "../../../src/cli/doctor/provider-checks.ts";
import { defineTool } from "../../../src/index.ts";
import { type QueueState, readQueueStates } from "../../../src/producers/queue-states.ts";
import { modelRef } from "../../../src/shared/model-name.ts";
import { completionQueueName } from "../../../src/shared/queue-name.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { startBatch } from "../../../src/store/batch.ts";
import { jobLockKey } from "../../../src/store/bullmq-internals.ts";
import { storeOf } from "../../../src/store/store.ts";
import { announceWorker } from "../../../src/store/worker-card.ts";
import { told } from "../../support/doctor.ts";
import { failureOf } from "../../support/provider.ts";
import { testRedis, testRing } from "../../support/redis.ts";
import { TestSite } from "../../support/site.ts";
import { openClient, siteClient } from "../../support/site-client.ts";
import { waitFor } from "../../support/wait-for.ts";

test("work that nobody does: no worker, no tool, a lost worker, failures, a batch and readers that stand still", async () => {
  await using site = await TestSite.open();
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const store = storeOf(redis, site.namespace, testRing());
  const idle = await told(site.env);
  expect(idle.told.workers).toMatch(/^ok: none runs, and nothing waits/);
  expect(idle.told["jobs nobody can run"]).toMatch(/^ok/);

  const asker = siteClient(site);
  await Promise.all([asker.enqueue("one"), asker.enqueue("two")]);
  await startBatch(store, { id: "b", input: "/in.jsonl", output: "/out.jsonl", options: "{}" });
  await redis.xadd(`${store.keys.outbox}:history`, "1-1", "v", "1");
  const queue = completionQueueName(modelRef("simulator", "test"));
  const lost = new Worker(queue, null, { connection: redis, prefix: store.keys.prefix });
  const taken = await lost.getNextJob("token");
  await redis.del(jobLockKey(store, queue, taken?.id ?? ""));
  const { told: lines, report } = await told(site.env);
  expect(lines.workers).toMatch(/^fail: none runs; waiting: 1 job → gluellm worker$/);
  expect(lines["jobs nobody can run"]).toMatch(
    /^fail: simulator:test: 1 job waiting for a worker with provider entry "simulator"/,
  );
  expect(lines["stalled jobs"]).toMatch(
    /^fail: 1 job of completions\.simulator\.test without the worker that had it → gluellm worker/,
  );
  expect(lines.batches).toMatch(
    /^warn: b has 0 rows to go and nobody sends them → gluellm batch run \/in\.jsonl -o \/out\.jsonl/,
  );
  expect(lines["history and webhooks"]).toMatch(/^warn: history is 1 event behind, the oldest \d+ h/);
  expect(report.status).toBe("fail");
  await lost.close(true);

  const lookup = defineTool({
    name: "lookup",
    description: "x",
    parameters: { type: "object" },
    execute: () => "",
  });
  const worker = openClient(site, { mode: "local" });
  await asker.enqueue("with a tool", { tools: [lookup] });
  await failureOf(worker.complete('#sim {"error":"400"}\nno'));
  const slow = {
    host: "far",
    pid: 7,
    queueGlobs: ["*"],
    tools: [],
    isMemoryLow: true,
    entries: {},
    workflows: [],
    versions: {},
    activities: [],
  };
  const state = {
    version: "9",
    startedAt: 0,
    rssBytes: 1,
    memoryShare: 1,
    lagMs: 900,
    clockAheadMs: -90_000,
    queues: [],
  };
  await announceWorker(store, "far-7", { ...slow, process: state });
  const settings = loadSettings({ env: site.env, cwd: "/" });
  await waitFor("the job to be put back", async () =>
    (await readQueueStates(store, settings)).some(({ waitsFor }) => waitsFor.join().includes("tool lookup")),
  );
  const { told: busy } = await told(site.env);
  await worker.close();
  expect(busy["jobs nobody can run"]).toMatch(
    /^fail: .*a worker with the tool lookup → start a worker that has it/,
  );
  // The test's own worker is late too on a busy machine.
  expect(busy.workers).toMatch(
    /^warn: (?:.* is late by \d+ ms\n)?far:7 is short of memory.*\nfar:7 is late by 900 ms\nthe clock of far:7 is 90 s behind/,
  );
  expect(busy["failed jobs"]).toMatch(
    /^warn: 1 in the last day: most are invalid_request of simulator:test → gluellm errors --since 1d/,
  );
  expect(busy["key of simulator"]).toMatch(/^ok: simulator asks for none/);
});

test("a key that only the default model needs is a warning, one that a queue waits for is a fault", async () => {
  const settings = loadSettings({ env: { GLUELLM_DEFAULT_MODEL: "openai:gpt-4o" }, cwd: "/" });
  const seen = async (queues: string[]) => {
    const states = queues.map((queue) => ({ queue, limits: {} }) as QueueState);
    const { checks } = providerChecks(settings, { states, cards: [] });
    return checks.find(({ name }) => name === "key of openai")?.run(AbortSignal.timeout(60_000));
  };
  expect(await seen([])).toMatchObject({
    status: "warn",
    seen: expect.stringContaining("only the default model, openai:gpt-4o, needs it"),
  });
  expect(await seen([completionQueueName(modelRef("openai", "gpt-4o-mini"))])).toMatchObject({
    status: "fail",
    remedy: expect.stringContaining("set OPENAI_API_KEY"),
  });
});
