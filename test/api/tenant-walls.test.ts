import { expect, test } from "vitest";
import { z } from "zod";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { defineWorkflow } from "../../src/index.ts";
import { SCOPES } from "../../src/shared/scopes.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { Store } from "../../src/store/store.ts";
import { makeKey, openApi } from "../support/api.ts";
import { restClient } from "../support/rest-client.ts";
import { sizeOf } from "../support/sample.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { LOOPBACK } from "../support/webhooks.ts";

const letter = defineWorkflow({
  name: "letter",
  input: z.string(),
  output: z.unknown(),
  run: (ctx) => ctx.waitFor("end"),
});

const SECRET = { role: "user", content: "secret of ours" };

/** What routes with a body are asked with, so that the object alone decides. */
const BODIES: Readonly<Record<string, object>> = {
  "/api/runs/:id/signals": { name: "go" },
  "/api/runs/:id/updates": { name: "go", waitMs: 0 },
  "/api/runs/:id/fork": { fromStep: "write" },
  "/api/users/:name": { role: "viewer" },
  "/api/jobs/:id/approve": { callId: "call_1" },
  "/api/jobs/:id/reject": { callId: "call_1" },
};
/** Names that are no objects of a tenant: of a model, of a workflow that runs are started of. */
const NO_OBJECTS = [/^\/v1\/models\//, /^\/api\/workflows\/:name\/runs$/];
/** What ends objects comes last. */
const lastly = ["cancel", "delete"];

const routes = ROUTE_GROUPS.flatMap((group) =>
  group.routes.map(({ method, path, body }) => ({ method, path: `${group.basePath}${path}`, hasBody: body })),
)
  .filter(({ path }) => /[:*]/.test(path) && !NO_OBJECTS.some((pattern) => pattern.test(path)))
  .sort((a, b) => rank(a) - rank(b));

function rank({ method, path }: { method: string; path: string }): number {
  return lastly.findIndex((word) => method === word || path.endsWith(word));
}

type Client = ReturnType<typeof restClient>;

/** Makes an object of each kind, and returns their ids by the part of the path that they stand at. */
async function makeObjects(
  owner: Client,
  {
    url,
    headers,
    store,
    tenant,
  }: { url: string; headers: Record<string, string>; store: Store; tenant: string },
): Promise<Record<string, string>> {
  const upload = new FormData();
  const line = {
    custom_id: "a",
    method: "POST",
    url: "/v1/chat/completions",
    body: { model: MODEL, messages: [SECRET] },
  };
  upload.set("file", new Blob([JSON.stringify(line)]), "in.jsonl");
  upload.set("purpose", "batch");
  const uploaded = await fetch(`${url}/v1/files`, { method: "POST", headers, body: upload });
  const { id: file } = (await uploaded.json()) as { id: string };
  /** A run that has failed. */
  async function failedRun(): Promise<string> {
    const { id } = (await owner("POST", "/api/workflows/letter/runs", { input: "secret" })).body;
    await store.redis.hset(store.keys.workflow(id), { status: "failed", finishedAt: 1 });
    return id;
  }
  const batch = { input_file_id: file, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const made = {
    files: file,
    batches: (await owner("POST", "/v1/batches", batch)).body.id,
    jobs: (await owner("POST", "/api/jobs", { message: "secret of ours", stream: true })).body.id,
    runs: (await owner("POST", "/api/workflows/letter/runs", { input: "secret of ours" })).body.id,
    schedules: (
      await owner("POST", "/api/schedules", {
        ...{ id: `s-${tenant}`, completion: "secret of ours", everyMs: 3_600_000 },
      })
    ).body.id,
    responses: (await owner("POST", "/v1/responses", { input: "secret of ours", background: true })).body.id,
    messages: (
      await owner("POST", "/v1/messages/batches", {
        requests: [{ custom_id: "a", params: { model: MODEL, max_tokens: 9, messages: [SECRET] } }],
      })
    ).body.id,
    conversations: `talk-${tenant}`,
    webhooks: (await owner("POST", "/api/webhooks", { url: "http://127.0.0.1:9/", events: ["*"] })).body.id,
    queues: MODEL,
    tenants: tenant,
    keys: (await owner("POST", "/api/keys", { role: "viewer" })).body.id,
    users: "someone@example.org",
    "dead-letters": await failedRun(),
    history: `run-of-${tenant}`,
  } as Record<string, string>;
  await owner("POST", "/api/jobs", { message: "secret of ours", conversation: made.conversations });
  expect(Object.values(made)).not.toContain(undefined);
  return made;
}

/** Asks every route that takes an id with a wrong key, and then with the owner's, so that nothing else can be why. */
async function walkRoutes(made: Record<string, string>, owner: Client, stranger: Client): Promise<void> {
  for (const { method, path, hasBody } of routes) {
    const kind = path.split("/")[2] ?? "";
    const id = made[kind];
    if (id === undefined) throw new Error(`this test makes no object for ${path}`);
    const at = path.replace(/[:*]id|:name/, id).replace(":name", "go");
    const body = hasBody ? (BODIES[path] ?? {}) : undefined;
    const ask = (client: Client) => client(method.toUpperCase(), at, body);
    const told = await ask(stranger);
    expect([method, path, told.status]).toEqual([method, path, 404]);
    expect(JSON.stringify(told.body)).not.toContain("secret");
    // A stream would not end.
    if (kind === "queues" || ["tenants", "users"].includes(kind) || path.endsWith("/events")) continue;
    const { status, body: own } = await ask(owner);
    if (status === 404) expect([path, own.error.code]).toEqual([path, "unknown_query"]);
  }
}

test("objects of other tenants are not there, by any route that takes an id", { tags: "long" }, async () => {
  await using site = await TestSite.open();
  const own = { GLUELLM_DEFAULT_MODEL: MODEL, GLUELLM_HISTORY: "true", GLUELLM_DATA_DIR: site.folder };
  const settings = loadSettings({ env: { ...site.env, ...LOOPBACK, ...own }, cwd: "/" });
  const { url, store } = await openApi(settings, { workflows: [letter] });
  const tenants = Array.from({ length: sizeOf(50, 1) }, (_, n) => `tenant-${n}`);
  const history = await openHistory(settings);
  await history.write({
    runs: tenants.map((tenant) => ({ id: `run-of-${tenant}`, tenant, workflow: "secret", version: 1 })),
  });
  await history.close();
  const clientOf = async (tenant: string) => {
    const { headers } = await makeKey(store, { tenant, scopes: [...SCOPES] });
    return { tenant, headers, client: restClient(url, headers) };
  };
  const [owners, nobody] = await Promise.all([Promise.all(tenants.map(clientOf)), clientOf("nobody")]);
  const made = [];
  for (const { client, ...owner } of owners) made.push(await makeObjects(client, { url, store, ...owner }));
  // Each one's objects by the key of the next one; the last one's by that of who has nothing.
  for (const [n, { client }] of owners.entries()) {
    const { client: stranger } = owners[n + 1] ?? nobody;
    await walkRoutes(made[n] ?? {}, client, stranger);
  }
  for (const list of ["runs", "schedules", "webhooks", "approvals"])
    expect([list, (await nobody.client("GET", `/api/${list}`)).body.data]).toEqual([list, []]);
});
