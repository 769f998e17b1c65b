import { expect, test } from "vitest";
import { z } from "zod";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { openHistory } from "../../src/history/open-history.ts";
import { defineWorkflow } from "../../src/index.ts";
import { SCOPES } from "../../src/shared/scopes.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { makeKey, openApi } from "../support/api.ts";
import { restClient } from "../support/rest-client.ts";
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

test("an object of another tenant is not there, by any route that takes an id", async () => {
  await using site = await TestSite.open();
  const own = { GLUELLM_DEFAULT_MODEL: MODEL, GLUELLM_HISTORY: "true", GLUELLM_DATA_DIR: site.folder };
  const settings = loadSettings({ env: { ...site.env, ...LOOPBACK, ...own }, cwd: "/" });
  const { url, store } = await openApi(settings, { workflows: [letter] });
  const key = await makeKey(store, { tenant: "ours", scopes: [...SCOPES] });
  const owner = restClient(url, key.headers);
  const stranger = restClient(url, (await makeKey(store, { tenant: "theirs", scopes: [...SCOPES] })).headers);
  const upload = new FormData();
  const line = {
    custom_id: "a",
    method: "POST",
    url: "/v1/chat/completions",
    body: { model: MODEL, messages: [SECRET] },
  };
  upload.set("file", new Blob([JSON.stringify(line)]), "in.jsonl");
  upload.set("purpose", "batch");
  const { id: file } = (await (
    await fetch(`${url}/v1/files`, { method: "POST", headers: key.headers, body: upload })
  ).json()) as { id: string };
  /** A run of ours that has failed. */
  async function failedRun(): Promise<string> {
    const { id } = (await owner("POST", "/api/workflows/letter/runs", { input: "secret" })).body;
    await store.redis.hset(store.keys.workflow(id), { status: "failed", finishedAt: 1 });
    return id;
  }
  const history = await openHistory(settings);
  await history.write({ runs: [{ id: "run-of-ours", tenant: "ours", workflow: "secret", version: 1 }] });
  await history.close();
  const batch = { input_file_id: file, endpoint: "/v1/chat/completions", completion_window: "24h" };
  const made = {
    files: file,
    batches: (await owner("POST", "/v1/batches", batch)).body.id,
    jobs: (await owner("POST", "/api/jobs", { message: "secret of ours", stream: true })).body.id,
    runs: (await owner("POST", "/api/workflows/letter/runs", { input: "secret of ours" })).body.id,
    schedules: (
      await owner("POST", "/api/schedules", { id: "s", completion: "secret of ours", everyMs: 3_600_000 })
    ).body.id,
    responses: (await owner("POST", "/v1/responses", { input: "secret of ours", background: true })).body.id,
    messages: (
      await owner("POST", "/v1/messages/batches", {
        requests: [{ custom_id: "a", params: { model: MODEL, max_tokens: 9, messages: [SECRET] } }],
      })
    ).body.id,
    conversations: "talk",
    webhooks: (await owner("POST", "/api/webhooks", { url: "http://127.0.0.1:9/", events: ["*"] })).body.id,
    queues: MODEL,
    "dead-letters": await failedRun(),
    history: "run-of-ours",
  } as Record<string, string>;
  await owner("POST", "/api/jobs", { message: "secret of ours", conversation: "talk" });
  expect(Object.values(made)).not.toContain(undefined);
  for (const { method, path, hasBody } of routes) {
    const kind = path.split("/")[2] ?? "";
    const id = made[kind];
    if (id === undefined) throw new Error(`this test makes no object for ${path}`);
    const at = path.replace(/[:*]id|:name/, id).replace(":name", "go");
    const body = hasBody ? (BODIES[path] ?? {}) : undefined;
    const ask = (client: typeof owner) => client(method.toUpperCase(), at, body);
    const told = await ask(stranger);
    expect([method, path, told.status]).toEqual([method, path, 404]);
    expect(JSON.stringify(told.body)).not.toContain("secret");
    // The same request of its owner, so that nothing else can be why; a stream would not end.
    const isStream = path.endsWith("/events");
    if (kind === "queues" || isStream) continue;
    const { status, body: own } = await ask(owner);
    if (status === 404) expect([path, own.error.code]).toEqual([path, "unknown_query"]);
  }
  expect((await stranger("GET", "/api/runs")).body.data).toEqual([]);
  expect((await stranger("GET", "/api/schedules")).body.data).toEqual([]);
  expect((await stranger("GET", "/api/webhooks")).body.data).toEqual([]);
});
