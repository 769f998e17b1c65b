import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { runGroup } from "../../../src/cli/doctor/check.ts";
import { providerChecks } from "../../../src/cli/doctor/provider-checks.ts";
import { groupLines, summaryLines } from "../../../src/cli/doctor/report-text.ts";
import { widthOf } from "../../../src/cli/progress/text-layout.ts";
import { loadSettings } from "../../../src/shared/settings.ts";
import { openApi } from "../../support/api.ts";
import { told } from "../../support/doctor.ts";
import { temporaryFolder } from "../../support/redis-folders.ts";
import { freePort, redisAt, startRedisServer } from "../../support/redis-server.ts";
import { TestSite } from "../../support/site.ts";
import { waitFor } from "../../support/wait-for.ts";
import { wireServer } from "../../support/wire-server.ts";

test("all faults of the settings are told at once, and what cannot be looked at is named", async () => {
  const misspelt = { GLUELLM_CACHE_TLL: "60" };
  const { report, told: lines } = await told({
    ...{ GLUELLM_CACHE_TTL: "never", GLUELLM_PROFILE: "wild", ...misspelt },
  });
  expect(lines.settings).toMatch(
    /^fail: 2 settings are wrong:.*GLUELLM_PROFILE.*GLUELLM_CACHE_TTL.*CACHE_TLL is no setting/s,
  );
  expect(report).toMatchObject({
    status: "fail",
    notChecked: ["Redis", "Providers", "Work", "Files", "Exposure"],
  });
});

test("a default model that calls would be refused for is a fault", async () => {
  const settings = loadSettings({ env: { GLUELLM_DEFAULT_MODEL: "openai:gpt-99" }, cwd: "/" });
  const found = await runGroup(providerChecks(settings, undefined));
  expect(found.find(({ name }) => name === "default model")).toMatchObject({
    status: "fail",
    seen: expect.stringContaining('unknown model "openai:gpt-99"'),
  });
});

test("models of the simulator need no price, and are named where they have none", async () => {
  const env = { GLUELLM_DEFAULT_MODEL: "simulator:demo", SIMULATOR_BASE_URL: "http://127.0.0.1:9/v1" };
  const seen = async (settings: Record<string, string>) => {
    const found = await runGroup(providerChecks(loadSettings({ env: settings, cwd: "/" }), undefined));
    return found.find(({ name }) => name === "prices");
  };
  expect(await seen(env)).toMatchObject({
    status: "ok",
    seen: expect.stringContaining("(simulator:demo); GLUELLM_PRICES gives them some"),
  });
  const priced = { ...env, GLUELLM_PRICES: '{"simulator:*":{"inputPerMillion":1,"outputPerMillion":2}}' };
  expect(await seen(priced)).toMatchObject({ status: "ok", seen: "known for every model in use" });
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
