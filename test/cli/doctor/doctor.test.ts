import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { runGroup } from "../../../src/cli/doctor/check.ts";
import { examine } from "../../../src/cli/doctor/examine.ts";
import { groupLines, summaryLines } from "../../../src/cli/doctor/report-text.ts";
import { widthOf } from "../../../src/cli/progress/text-layout.ts";
import { defineTool } from "../../../src/index.ts";
import { readQueueStates } from "../../../src/producers/queue-states.ts";
import { modelRef } from "../../../src/shared/model-name.ts";
import { completionQueueName } from "../../../src/shared/queue-name.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { startBatch } from "../../../src/store/batch.ts";
import { jobLockKey } from "../../../src/store/bullmq-internals.ts";
import { storeOf } from "../../../src/store/store.ts";
import { announceWorker } from "../../../src/store/worker-card.ts";
import { openApi } from "../../support/api.ts";
import { failureOf } from "../../support/provider.ts";
import { testRedis } from "../../support/redis.ts";
import { temporaryFolder } from "../../support/redis-folders.ts";
import { freePort, redisAt, startRedisServer } from "../../support/redis-server.ts";
import { TestSite } from "../../support/site.ts";
import { openClient, siteClient } from "../../support/site-client.ts";
import { waitFor } from "../../support/wait-for.ts";
import { wireServer } from "../../support/wire-server.ts";

type Told = Record<string, string>;

/** What the checks say in an environment: `status: what was seen → what to do` by name. */
async function told(env: Record<string, string>, cwd = temporaryFolder()) {
  const report = await examine(() => {}, { env, cwd });
  const lines = report.checks.map(({ name, status, seen, remedy = "" }) => [
    name,
    `${status}: ${seen} → ${remedy}`,
  ]);
  return { report, told: Object.fromEntries(lines) as Told };
}

test("all faults of the settings are told at once, and what cannot be looked at is named", async () => {
  const { report, told: lines } = await told({ GLUELLM_CACHE_TTL: "never", GLUELLM_PROFILE: "wild" });
  expect(lines.settings).toMatch(/^fail: 2 settings are wrong:.*GLUELLM_PROFILE.*GLUELLM_CACHE_TTL/s);
  expect(report).toMatchObject({
    status: "fail",
    notChecked: ["Redis", "Providers", "Work", "Files", "Exposure"],
  });
});

test("a Redis that cannot be reached hides nothing else; keys, files and what others could reach", async () => {
  const keys = await wireServer((response, { path, headers }) => {
    const status =
      { "Bearer good": 200, "Bearer bad": 401, "Bearer poor": 402 }[String(headers.authorization)] ?? 404;
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ path, data: [{ id: "a" }, { id: "b" }] }));
  });
  const of = (name: string) => ({ [name]: { baseUrl: `${keys.url}/v1`, models: ["*"] } });
  const cwd = temporaryFolder();
  const dataDir = join(cwd, "data");
  mkdirSync(dataDir);
  chmodSync(dataDir, 0o755);
  writeFileSync(join(dataDir, "api-key"), "gk_", { mode: 0o644 });
  writeFileSync(join(cwd, ".env"), "", { mode: 0o644 });
  const port = await freePort();
  const open = await openApi({}, { isAuthRequired: false });
  const { told: lines } = await told(
    {
      GLUELLM_REDIS_URL: `redis://127.0.0.1:${port}`,
      GLUELLM_DATA_DIR: dataDir,
      GLUELLM_DEFAULT_MODEL: "gone:model",
      GLUELLM_LEARN_LIMITS: "false",
      GLUELLM_PROVIDERS: JSON.stringify({
        ...{ ...of("good"), ...of("bad"), ...of("poor"), ...of("mute") },
        gone: { baseUrl: `http://127.0.0.1:${port}/v1` },
        plain: { baseUrl: "http://plain.invalid/v1" },
      }),
      ...{ GOOD_API_KEY: "good", BAD_API_KEY: "bad", POOR_API_KEY: "poor", MUTE_API_KEY: "mute" },
      ...{ GONE_API_KEY: "gone", PLAIN_API_KEY: "plain-secret" },
      GLUELLM_WEBHOOK_ALLOW_PRIVATE: "true",
      ...{ GLUELLM_DASHBOARD_HOST: "0.0.0.0", GLUELLM_API_CORS_ORIGINS: "*" },
      ...{
        GLUELLM_API_PORT: new URL(open.url).port,
        GLUELLM_ENABLE_METRICS_SERVER: "true",
        GLUELLM_METRICS_HOST: "::",
      },
    },
    cwd,
  );
  const expected: [string, RegExp][] = [
    [
      "connection",
      /^fail: Redis at 127\.0\.0\.1:\d+ does not answer: nothing listens there → start Redis there/,
    ],
    ["key of good", /^ok: good takes it; it lists 2 models/],
    ["key of bad", /^fail: bad refuses it \(401\) → correct BAD_API_KEY/],
    ["key of poor", /^fail: the account at poor has no credit/],
    ["key of mute", /^warn: mute has no list of models \(404\)/],
    ["key of gone", /^fail: the connection to gone at .* failed \(ECONNREFUSED\)/],
    ["prices", /^warn: none known of gone:model: .* → GLUELLM_PRICES='\{"gone:model"/],
    ["limits", /^warn: none known yet of gone:model, and none are learned/],
    ["data folder", /^fail: others may read the key in .*api-key → chmod 600/],
    [".env", /^warn: others may read .* → chmod 600/],
    ["dashboard", /^fail: .*0\.0\.0\.0 without a password/],
    ["API", /^warn: web pages of every origin may call it\nthe one at port \d+ answers without a key/],
    ["webhooks", /^warn: they may be sent to every private address/],
    ["metrics", /^warn: .*without a token/],
    ["way to providers", /^warn: the key of plain goes to http:\/\/plain\.invalid unencrypted/],
  ];
  for (const [name, pattern] of expected) expect(lines[name], name).toMatch(pattern);
  expect(keys.requests.every(({ path }) => path === "/v1/models")).toBe(true);
  expect(JSON.stringify(lines)).not.toContain("plain-secret");
});

test("a Redis that forgets, evicts and is full", async () => {
  const server = await startRedisServer({ appendonly: "no", "maxmemory-policy": "allkeys-lru" });
  const url = `redis://127.0.0.1:${server.port}`;
  const redis = redisAt(url);
  const used = Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
  await redis.config("SET", "maxmemory", String(Math.round(used * 1.12)));
  const { told: lines } = await told({ GLUELLM_REDIS_URL: url });
  expect(lines.persistence).toMatch(/^warn: no append-only file.* → redis-cli CONFIG SET appendonly yes/);
  expect(lines.eviction).toMatch(
    /^fail: it evicts keys.* → redis-cli CONFIG SET maxmemory-policy noeviction/,
  );
  expect(lines.memory).toMatch(/^(warn: filling up|fail: nearly full): .*\(maxmemory\) → raise maxmemory/);
  expect(lines.role).toMatch(/^ok: primary/);
  expect(lines["rights and scripts"]).toMatch(/^ok/);
  await redis.config("SET", "maxmemory", "0");
  await redis.config("SET", "appendonly", "yes");
  await redis.config("SET", "appendfsync", "no");
  await waitFor("the append-only file", async () =>
    (await redis.info()).includes("aof_rewrite_in_progress:0"),
  );
  const { told: better } = await told({ GLUELLM_REDIS_URL: url });
  expect(better.persistence).toMatch(/^warn: .*a crash of the machine loses up to 30 s/);
});

test("work that nobody does: no worker, no tool, a lost worker, failures, a batch and readers that stand still", async () => {
  await using site = await TestSite.open();
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const store = storeOf(redis, site.namespace);
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
    /^fail: .*workers lack the tool lookup → start a worker that has it/,
  );
  expect(busy.workers).toMatch(
    /^warn: far:7 is short of memory.*\nfar:7 is late by 900 ms\nthe clock of far:7 is 90 s behind/,
  );
  expect(busy["failed jobs"]).toMatch(
    /^warn: 1 in the last day: most are invalid_request of simulator:test → gluellm errors --since 1d/,
  );
  expect(busy["key of simulator"]).toMatch(/^ok: simulator asks for none/);
});

test("a check that throws or hangs is a fault of that check alone", async () => {
  const checks = [
    { name: "throws", run: () => Promise.reject(new Error("boom")) },
    {
      name: "hangs",
      run: () =>
        delay(3_600_000, undefined, { ref: false }).then(() => ({ status: "ok" as const, seen: "" })),
    },
    { name: "works", run: () => ({ status: "ok" as const, seen: "fine" }) },
  ];
  expect(await runGroup({ name: "any", checks }, 50)).toMatchObject([
    { name: "throws", status: "fail", seen: "the check itself failed: boom" },
    { name: "hangs", status: "fail", seen: "it did not end within 0.05 s" },
    { name: "works", status: "ok", seen: "fine" },
  ]);
});

test("a Redis that takes connections and answers nothing", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  onTestFinished(() => void silent.close());
  await waitFor("the server", () => silent.listening);
  const { port } = silent.address() as { port: number };
  const { told: lines } = await told({ GLUELLM_REDIS_URL: `redis://127.0.0.1:${port}` });
  expect(lines.connection).toMatch(/^fail: Redis at .* does not answer within 5 s/);
  expect(lines["data folder"]).toMatch(/^ok/);
});

test("a report has no line wider than the terminal, at 80 columns and at 60", async () => {
  const { report } = await told({ GLUELLM_REDIS_URL: `redis://127.0.0.1:${await freePort()}` }, "/tmp");
  for (const columns of [60, 80]) {
    const options = { columns, paint: (text: string) => text };
    const groups = [...Map.groupBy(report.checks, ({ group }) => group).values()];
    const lines = [
      ...groups.flatMap((group) => groupLines(group, options)),
      ...summaryLines(report, options),
    ];
    expect(lines.filter((line) => widthOf(line) > columns)).toEqual([]);
    expect(lines.at(-2)).toMatch(/^\d+ faults? · \d+ warnings? · \d+ fine$/);
  }
});

test("gluellm doctor ends with 1 when something is wrong, and prints JSON for programs", async () => {
  await using site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: "simulator:test" });
  await site.simulator.close();
  const broken = await site.run("doctor", "--json");
  const report = JSON.parse(broken.stdout);
  expect(broken.code).toBe(1);
  expect(report).toMatchObject({ status: "fail", namespace: site.namespace, notChecked: [] });
  expect(report.checks.find(({ name }: { name: string }) => name === "key of simulator")).toMatchObject({
    status: "fail",
    remedy: "start it: gluellm simulate",
  });
});
