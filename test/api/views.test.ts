import { expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import type { Scope } from "../../src/shared/scopes.ts";
import { makeKey, openApi } from "../support/api.ts";
import { restClient } from "../support/rest-client.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** Two completions in branches, one that fails, and local steps. */
const essay = defineWorkflow({
  name: "essay",
  input: z.object({ topic: z.string(), words: z.int().min(1).default(100) }),
  output: z.object({ text: z.string() }),
  run: async (ctx, { topic }) => {
    await ctx.branches({
      left: (branch) => branch.complete("draft", `left of ${topic}`),
      right: (branch) => branch.complete("draft", '#sim {"error":"400"}\nright').catch(() => {}),
    });
    for (let n = 0; n < 5; n++) await ctx.run(`count ${n}`, () => n);
    return { text: `about ${topic}` };
  },
});

async function site() {
  const opened = await workflowSite({}, { GLUELLM_TRACE_URL: "https://traces.example/t/{traceId}" });
  const { url, store } = await openApi(opened.settings, { workflows: [essay] });
  const clientOf = async (...scopes: Scope[]) => restClient(url, (await makeKey(store, { scopes })).headers);
  return { ...opened, reader: await clientOf("read"), owner: await clientOf("read", "content"), clientOf };
}

test("a run's timeline comes in pages, with spans and failures; contents need their scope", async () => {
  const { runs, work, reader, owner, clientOf } = await site();
  await work(essay);
  const run = await runs.start(essay, { topic: "tides" }, { runId: "essay-1", tags: ["weekly"] });
  await run.result();
  const { body } = await reader("GET", "/api/runs/essay-1/timeline?limit=2");
  expect(body).toMatchObject({ total: 7, failed: [1] });
  expect(body.data.map(({ index, step, state }: Record<string, unknown>) => [index, step, state])).toEqual([
    [0, "left/draft", "succeeded"],
    [1, "right/draft", "failed"],
  ]);
  for (const { spans, startedAt, finishedAt } of body.data) {
    expect(spans[0].from).toBe(Date.parse(startedAt));
    expect(spans.at(-1).to).toBe(Date.parse(finishedAt));
    expect(spans.map(({ kind }: { kind: string }) => kind)).toContain("model");
  }
  const rest = await reader("GET", "/api/runs/essay-1/timeline?from=2");
  expect(rest.body.data.map(({ step }: { step: string }) => step)).toEqual(
    [0, 1, 2, 3, 4].map((n) => `count ${n}`),
  );
  for (const { startedAt, finishedAt, spans } of rest.body.data)
    expect(spans).toEqual([{ kind: "work", from: Date.parse(startedAt), to: Date.parse(finishedAt) }]);
  const { traceUrl, traceId } = (await reader("GET", "/api/runs/essay-1")).body;
  expect(traceUrl).toBe(`https://traces.example/t/${traceId}`);
  expect(traceId).toMatch(/^[0-9a-f]{32}$/);
  expect((await reader("GET", "/api/runs/essay-1/content")).status).toBe(403);
  expect((await owner("GET", "/api/runs/essay-1/content")).body).toEqual({
    input: { topic: "tides" },
    output: { text: "about tides" },
  });
  // What a fork takes over is not paid again.
  await run.fork({ fromStep: "count 0", runId: "essay-2" });
  await waitFor("the fork", async () => (await runs.open("essay-2").status()).state === "succeeded");
  const forked = await reader("GET", "/api/runs/essay-2/timeline?limit=1");
  expect(forked.body.data[0]).toMatchObject({ step: "left/draft", reused: "fork" });

  const found = async (query: string) =>
    (await reader("GET", `/api/run-search?${query}`)).body.data.map(({ id }: { id: string }) => id);
  expect(await found("")).toEqual(["essay-2", "essay-1"]);
  expect(await found("text=WEEK&state=succeeded")).toEqual(["essay-1"]);
  expect(await found("version=1&tag=weekly")).toEqual(["essay-1"]);
  expect(await found("version=2")).toEqual([]);
  expect(await found("tag=week")).toEqual([]);
  expect(await found(`from=${Date.now() + 60_000}`)).toEqual([]);
  const operator = await clientOf("read", "operate");
  expect((await operator("GET", "/api/run-search?tenant=*&limit=1")).body.data[0].tenant).toBe("default");
  expect((await operator("GET", "/api/run-search?tenant=acme")).body.data).toEqual([]);
  expect((await reader("GET", "/api/run-search?tenant=acme")).status).toBe(403);
  expect(await found("minUsd=1")).toEqual([]);
  expect(await found("minMs=3600000")).toEqual([]);
  const page = (await reader("GET", "/api/run-search?limit=1")).body;
  expect(await found(`limit=1&cursor=${page.cursor}`)).toEqual(["essay-1"]);
  const { data: schemas } = (await reader("GET", "/api/workflow-schemas")).body;
  expect(schemas.essay).toMatchObject({ required: ["topic"], properties: { words: { default: 100 } } });
  expect(Object.keys(schemas)).toContain("debate");
});

test("jobs are found by their ids and, with the scope content, their prompts; a life has all of it", async () => {
  const { client, serveModels, queueOf, reader, owner } = await site();
  await serveModels();
  const talk = client.conversation({ id: "talk-1" });
  await talk.complete('#sim {"reply":"at noon"}\nWhen is high tide?');
  const failed = await client.enqueue('#sim {"error":"400"}\na secret question', { model: MODEL });
  await failed.result().catch(() => {});
  const again = await client.enqueue('#sim {"error":"500","errorTimes":1}\nagain', { model: MODEL });
  await again.result();
  const found = async (ask: typeof owner, query: string) =>
    (await ask("GET", `/api/jobs?${query}`)).body.data as { id: string; preview?: string }[];
  await waitFor("the ends", async () => (await found(owner, "state=failed")).length === 1);
  expect((await found(owner, "text=SECRET")).map(({ id }) => id)).toEqual([failed.id]);
  expect(await found(reader, "text=secret")).toEqual([]);
  expect(
    (await found(reader, `text=${failed.id.slice(0, 20)}`)).map(({ id, preview }) => [id, preview]),
  ).toEqual([[failed.id, undefined]]);
  expect(await found(reader, "conversations=true")).toMatchObject([
    { conversation: "talk-1", state: "succeeded" },
  ]);
  expect(await found(reader, "queue=simulator:none")).toEqual([]);

  const [{ id } = { id: "" }] = await found(reader, "conversations=true");
  const life = (await owner("GET", `/api/jobs/${id}/life`)).body;
  expect(life).toMatchObject({
    ...{ id, state: "succeeded", key: MODEL, conversation: { id: "talk-1", position: 0 } },
    outcome: { status: "succeeded", attempts: 1, isFromCache: false },
    content: { answer: { choices: [{ message: { content: "at noon" } }] } },
  });
  const { log, traceUrl } = (await reader("GET", `/api/jobs/${again.id}/life`)).body;
  expect(log).toEqual([expect.stringMatching(/attempt 1 ended: server_error: .*; again in \d+ s$/)]);
  // It stays with the result when the job has left its queue.
  await queueOf(MODEL).remove(again.id);
  expect((await reader("GET", `/api/jobs/${again.id}/life`)).body).toMatchObject({
    ...{ state: "succeeded", log, attempts: [{ attempt: 1, code: "server_error" }] },
    spans: expect.arrayContaining([expect.objectContaining({ kind: "retry" })]),
  });
  expect(traceUrl).toMatch(/^https:\/\/traces.example\/t\/[0-9a-f]{32}$/);
  const seen = await reader("GET", `/api/jobs/${failed.id}/life`);
  expect(seen.body).toMatchObject({
    state: "failed",
    outcome: { error: { code: "invalid_request" }, costUsd: 0 },
  });
  expect(seen.body.content).toBeUndefined();
  expect(JSON.stringify(seen.body)).not.toContain("secret");
  expect((await reader("GET", "/api/jobs/none/life")).status).toBe(404);

  expect((await reader("GET", "/api/conversations/talk-1")).status).toBe(403);
  const { body } = await owner("GET", "/api/conversations/talk-1");
  expect(body).toMatchObject({
    turns: 1,
    data: [{ role: "user" }, { role: "assistant", content: "at noon" }],
  });
  expect((await owner("GET", "/api/conversations/none")).status).toBe(404);
  const { body: use } = await reader("GET", `/api/limits/use?key=${MODEL}`);
  expect(use.data.length).toBeGreaterThan(30);
});
