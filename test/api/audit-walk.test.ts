import { Command } from "commander";
import { expect, inject, onTestFinished, test } from "vitest";
import { ALLOWED } from "../../dashboards/controls.ts";
import { changes } from "../../src/api/audited.ts";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { pathOf, UNAUDITED } from "../../src/cli/audited.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { SCOPES } from "../../src/shared/scopes.ts";
import { switchAuditOn } from "../../src/store/audit.ts";
import type { Store } from "../../src/store/store.ts";
import { plainStore } from "../../src/store/store.ts";
import { makeKey, openApi } from "../support/api.ts";
import { runCli } from "../support/cli.ts";
import { openDashboard, openQueue, send } from "../support/dashboard.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { restClient } from "../support/rest-client.ts";
import { sampleOf } from "../support/sample.ts";
import { waitFor } from "../support/wait-for.ts";

const MODEL = "simulator:gpt-4o-mini";
const messages = [{ role: "user", content: "a canary of a prompt" }];
/** A body for each route that has to have one. A new route needs a line here, and then has an entry. */
const BODIES: Readonly<Record<string, object>> = {
  "/v1/chat/completions": { model: "none:such", messages },
  "/v1/embeddings": { model: "none:such", input: "x" },
  "/v1/responses": { model: "none:such", input: "x" },
  "/v1/batches": { input_file_id: "file-x", endpoint: "/v1/chat/completions", completion_window: "24h" },
  "/v1/messages": { model: "none:such", max_tokens: 5, messages },
  "/v1/messages/batches": {
    requests: [{ custom_id: "a", params: { model: "none:such", max_tokens: 9, messages } }],
  },
  "/api/jobs": { message: "a canary of a prompt", model: "none:such" },
  "/api/jobs/:id/approve": { callId: "call_1" },
  "/api/jobs/:id/reject": { callId: "call_1" },
  "/api/runs/:id/signals": { name: "go" },
  "/api/runs/:id/updates": { name: "go", waitMs: 0 },
  "/api/runs/:id/fork": { fromStep: "write" },
  "/api/schedules": { id: "s", completion: "a canary of a prompt", everyMs: 3_600_000 },
  "/api/keys": { name: "x" },
  "/api/users/:name": { role: "viewer" },
  "/api/webhooks": { url: "https://example.com/", events: ["*"] },
  "/api/dead-letters/replay": { where: { code: "none" } },
  "/api/dead-letters/drop": { where: { code: "none" } },
};
const READS = ["POST /mcp/", "DELETE /mcp/", "POST /api/quote", "POST /v1/messages/count_tokens"];

const routes = ROUTE_GROUPS.flatMap((group) =>
  group.routes.map((route) => ({
    route,
    path: `${group.basePath}${route.path}`,
    name: `${route.method.toUpperCase()} ${group.basePath}${route.path}`,
  })),
);

/** What the audit has, begins and ends apart. */
async function entriesOf({ redis, keys }: Store) {
  const entries = await redis.xrange(keys.outboxAudit, "-", "+");
  return entries.map(
    ([, fields]) =>
      Object.fromEntries(
        fields.map((name, n) => [name, fields[n + 1] ?? ""]).filter((_, n) => n % 2 === 0),
      ) as Record<string, string>,
  );
}

async function endOf(store: Store, action: string, count = 1) {
  return waitFor(`the end of ${action}`, async () => {
    const ended = (await entriesOf(store)).filter(
      (entry) => entry.phase === "ended" && entry.action === action,
    );
    return ended.length >= count ? ended[count - 1] : undefined;
  });
}

test("every route of the API that changes something leaves an entry, before and after, without what was asked", async () => {
  expect(
    routes
      .filter(({ route }) => route.method !== "get" && !changes(route))
      .map(({ name }) => name)
      .sort(),
  ).toEqual(READS.sort());
  const { url, store } = await openApi();
  await switchAuditOn(store, 10_000);
  const key = await makeKey(store, { scopes: [...SCOPES] });
  const ask = restClient(url, key.headers);
  for (const { route, path, name } of routes) {
    if (!changes(route)) continue;
    const at = path.replace(/[:*]id/, "some-id").replace(/:\w+/g, "some-name");
    const { status, body } = await ask(
      route.method.toUpperCase(),
      at,
      route.body ? (BODIES[path] ?? {}) : undefined,
    );
    const [begun, ended] = (await entriesOf(store)).filter((entry) => entry.action === name);
    if (!begun) throw new Error(`${name} left no entry: ${status} ${JSON.stringify(body)}`);
    expect(begun).toMatchObject({ phase: "begun", actor: key.id, role: "admin", tenant: "default" });
    expect(begun.address).toMatch(/127\.0\.0\.1$/);
    if (path.includes(":")) expect(begun.target).toMatch(/^some-/);
    expect(ended).toMatchObject({
      phase: "ended",
      act: begun.number,
      outcome: expect.stringMatching(/^[\w]+$/),
    });
  }
  const told = await entriesOf(store);
  expect(told.map(({ number }) => Number(number))).toEqual(told.map((_, n) => n + 1));
  expect(JSON.stringify(told)).not.toContain("canary");
  // What was only looked at is no act.
  await ask("GET", "/api/jobs");
  await ask("POST", "/api/quote", {});
  expect(await entriesOf(store)).toHaveLength(told.length);
  // Of what a request made, the end tells.
  const { body } = await ask("POST", "/api/webhooks", { url: "https://example.com/hook", events: ["*"] });
  const made = await endOf(store, "POST /api/webhooks", 2);
  expect(made).toMatchObject({
    target: body.id,
    outcome: "done",
    digest: expect.stringMatching(/^[0-9a-f]{64}$/),
  });

  await switchAuditOn(store, 1);
  const before = await store.redis.get(store.keys.schedule("never"));
  const refused = await ask("POST", "/api/schedules", { id: "never", completion: "x", everyMs: 3_600_000 });
  expect([refused.status, refused.body.error.code]).toEqual([503, "audit_full"]);
  expect(await store.redis.get(store.keys.schedule("never"))).toBe(before);
});

test("so does all that Bull Board does, and each login; while the audit is full they are refused", async () => {
  const namespace = testNamespace();
  const { redis, keys, queue } = await openQueue(namespace, "completions.simulator.m");
  const store = plainStore(redis, keys);
  await switchAuditOn(store, 1000);
  const { url } = await openDashboard({ namespace, password: "a password" });
  const authorization = `Basic ${Buffer.from("x:a password").toString("base64")}`;
  const json = { authorization, "content-type": "application/json" };
  await waitFor("the board has the queue", async () =>
    (await send(new URL("/queues/api/queues", url).href, "GET", json)).text.includes(queue.name),
  );
  for (const template of ALLOWED) {
    const path = template
      .replace(":queueName", queue.name)
      .replace(":jobId", "some-job")
      .replace(":queueStatus", "failed");
    const { status } = await send(new URL(`/queues/api/queues${path}`, url).href, "PUT", json, "{}");
    expect([template, (await endOf(store, `PUT /queues/api/queues${template}`))?.actor]).toEqual([
      template,
      "password",
    ]);
    expect([template, status]).not.toEqual([template, 503]);
  }
  const begun = (await entriesOf(store)).find(({ action }) => action?.endsWith("/:jobId/retry"));
  expect(begun).toMatchObject({ target: "some-job", role: "admin" });
  // What the board may not do is no act.
  const { length } = await entriesOf(store);
  await send(new URL(`/queues/api/queues/${queue.name}/empty`, url).href, "PUT", json, "{}");
  expect(await entriesOf(store)).toHaveLength(length);

  const login = (key: string) =>
    send(
      new URL("/login", url).href,
      "POST",
      { "content-type": "application/json" },
      JSON.stringify({ key }),
    );
  expect((await login("wrong one")).status).toBe(401);
  expect(await endOf(store, "POST /login")).toMatchObject({ outcome: "status_401", actor: "unknown" });
  await login("a password");
  expect(await endOf(store, "POST /login", 2)).toMatchObject({
    outcome: "done",
    actor: "password",
    role: "admin",
  });
  await redis.hset(keys.audit, "maxWaiting", 1);
  expect(await login("a password")).toMatchObject({ status: 503, text: expect.stringContaining("audit") });
});

/** The id of a job that never was. */
const NO_JOB = "job-019aa000-0000-7000-8000-000000000000";
/** Words for each command of the command line, so that it comes to Redis. A new one needs a line, or one in `UNAUDITED`. */
const WORDS: Readonly<Record<string, string[]>> = {
  "batch cancel": ["batch_x"],
  "keys create": [],
  "keys revoke": ["key_x"],
  "users set": ["ann", "--role", "viewer"],
  "users remove": ["ann"],
  "tenants set": ["acme", "--weight", "2"],
  "tenants remove": ["acme"],
  "webhooks add": ["https://example.com/"],
  "webhooks remove": ["wh_x"],
  "webhooks enable": ["wh_x"],
  "webhooks test": ["wh_x"],
  "webhooks replay": ["wh_x"],
  "webhooks rotate": ["wh_x"],
  "queues remove": [MODEL],
  "queues repair": [],
  "queues resume": [MODEL],
  "workflow cancel": ["run-x"],
  "workflow retry": ["run-x"],
  "workflow signal": ["run-x", "go"],
  "workflow fork": ["run-x", "--from-step", "a"],
  "schedule create": ["s", "--completion", "a canary", "--every-ms", "3600000"],
  "schedule pause": ["s"],
  "schedule resume": ["s"],
  "schedule trigger": ["s"],
  "schedule delete": ["s"],
  "approvals approve": [NO_JOB, "call"],
  "approvals reject": [NO_JOB, "call"],
  "dlq replay": [NO_JOB],
  "dlq drop": [NO_JOB],
  "history backfill": [],
  "audit off": [],
  purge: ["--tenant", "nobody"],
};
/** These begin with the first Redis that they open, too; they call models, have files, or ask an API that tells of it itself. */
const OTHERS = [
  ...["batch run", "batch quote", "batch submit", "complete", "chat", "workflow run", "rollout run"],
  ...["rollout rescore", "test-completion", "test-tool-call", "test-iterative-workflow"],
  ...["test-pipeline-workflow", "test-debate-workflow", "keys rotate-encryption"],
];

test("so does every command that changes something", { tags: "long" }, async () => {
  const program = new Command("gluellm");
  for (const { add } of COMMANDS) await add(program);
  const all: string[] = [];
  const walk = (command: Command) => {
    for (const child of command.commands) {
      if (child.commands.length === 0) all.push(pathOf(child));
      walk(child);
    }
  };
  walk(program);
  const known = [...Object.keys(WORDS), ...OTHERS, ...UNAUDITED];
  expect(all.filter((path) => !known.includes(path))).toEqual([]);

  const store = testStore(testNamespace());
  await switchAuditOn(store, 10_000);
  const env = {
    ...{ GLUELLM_NAMESPACE: store.keys.prefix.slice(9, -1), GLUELLM_DATA_DIR: temporaryFolder() },
    ...{ GLUELLM_REDIS_URL: `unix://${inject("redisSocket")}`, GLUELLM_HISTORY: "true" },
  };
  onTestFinished(() => void store.redis.del(store.keys.audit));
  for (const [path, words] of sampleOf("audited commands", Object.entries(WORDS), 2)) {
    const { code, stderr } = await runCli([...path.split(" "), ...words], env, env.GLUELLM_DATA_DIR);
    const entries = (await entriesOf(store)).filter(({ action }) => action === `gluellm ${path}`);
    if (entries.length !== 2) throw new Error(`${path} left ${entries.length} entries: ${stderr}`);
    const [begun, ended] = entries;
    expect(begun?.actor).toMatch(/^cli:.+@.+/);
    expect(ended).toMatchObject({ phase: "ended", act: begun?.number });
    expect([path, ended?.outcome === "done"]).toEqual([path, code === 0]);
    if (path === "audit off") await switchAuditOn(store, 10_000);
  }
  expect(JSON.stringify(await entriesOf(store))).not.toContain("canary");
});
