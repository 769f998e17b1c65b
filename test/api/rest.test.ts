import { expect, test } from "vitest";
import { z } from "zod";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { defineWorkflow } from "../../src/index.ts";
import { makeKey, openApi } from "../support/api.ts";
import { restClient } from "../support/rest-client.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

/** Asks once, waits for a signal, answers updates. */
const letter = defineWorkflow({
  name: "letter",
  input: z.object({ topic: z.string(), fails: z.boolean().default(false) }),
  output: z.object({ text: z.string(), by: z.string(), at: z.date() }),
  run: async (ctx, { topic }) => {
    ctx.metadata.set("phase", `writing ${topic}`);
    ctx.onUpdate("rename", z.object({ to: z.string() }), ({ to }) => {
      if (to === "") throw new Error("a name is needed");
      return `now ${to}`;
    });
    const { finalResponse } = await ctx.complete("write", topic);
    const { by } = (await ctx.waitFor("approval")) as { by: string };
    return { text: finalResponse, by, at: new Date(0) };
  },
});

async function site() {
  const opened = await workflowSite();
  const { url, store } = await openApi(opened.settings, { workflows: [letter] });
  const { headers } = await makeKey(store, { scopes: ["complete", "workflow", "read", "operate"] });
  return { ...opened, store, url, headers, ask: restClient(url, headers) };
}

test("a job: enqueued once by its key, followed, waited for, streamed", async () => {
  const { ask, serveModels, site: parts, url, headers } = await site();
  const body = { message: '#sim {"reply":"a short answer"}\nwhat?', model: MODEL, stream: true };
  const key = { "idempotency-key": "order 1" };
  const made = await ask("POST", "/api/jobs", body, key);
  expect(made).toMatchObject({ status: 202, body: { state: "waiting", id: expect.stringMatching(/^job-/) } });
  const { id } = made.body;
  expect(made.headers.get("location")).toBe(`/api/jobs/${id}`);
  expect((await ask("POST", "/api/jobs", body, key)).body.id).toBe(id);
  expect(await ask("POST", "/api/jobs", { ...body, message: "other" }, key)).toMatchObject({
    status: 409,
    body: { error: { code: "idempotency_conflict" } },
  });
  expect(await ask("GET", `/api/jobs/${id}/result`)).toMatchObject({
    status: 202,
    body: { id, state: "waiting" },
  });
  const waiting = ask("GET", `/api/jobs/${id}/result?waitMs=60000`);
  const streaming = fetch(`${url}/api/jobs/${id}/events`, { headers }).then((response) => response.text());
  await serveModels();
  expect(await waiting).toMatchObject({
    status: 200,
    body: {
      id,
      state: "succeeded",
      result: { finalResponse: "a short answer", model: MODEL, costUsd: null },
    },
  });
  const events = (await streaming).split("\n\n").filter((part) => part.startsWith("event: "));
  const texts = events.filter((part) => part.startsWith("event: text\n"));
  expect(texts.map((part) => JSON.parse(part.split("data: ")[1] ?? "").text).join("")).toBe("a short answer");
  expect(events.at(-1)).toMatch(/^event: result\ndata: \{"type":"result"/);
  expect(await ask("GET", `/api/jobs/${id}`)).toMatchObject({ status: 200, body: { state: "succeeded" } });
  expect(parts.simulator.journal.entries()).toHaveLength(1);
});

test("a job that fails tells its error as its result, and is retried; a waiting one is cancelled", async () => {
  const { ask, serveModels } = await site();
  await serveModels();
  const message = '#sim {"error":"500","errorTimes":1}\nonce';
  const { id } = (await ask("POST", "/api/jobs", { message, model: MODEL, maxAttempts: 1 })).body;
  expect(await ask("GET", `/api/jobs/${id}/result?waitMs=60000`)).toMatchObject({
    status: 200,
    body: { state: "failed", error: { code: expect.any(String), category: "connection" } },
  });
  await waitFor(
    "the end of the job",
    async () => (await ask("POST", `/api/jobs/${id}/retry`)).status === 200,
  );
  await waitFor(
    "its answer",
    async () => (await ask("GET", `/api/jobs/${id}/result?waitMs=60000`)).body.state === "succeeded",
  );
  expect(await ask("POST", `/api/jobs/${id}/retry`)).toMatchObject({
    status: 409,
    body: { error: { code: "job_not_failed" } },
  });
  const late = (await ask("POST", "/api/jobs", { message: "later", model: MODEL, delayMs: 3_600_000 })).body;
  expect(late).toMatchObject({ state: "delayed", waitsFor: ["its time"] });
  expect((await ask("POST", `/api/jobs/${late.id}/cancel`)).body.state).toBe("cancelled");
  expect((await ask("GET", `/api/jobs/${late.id}/result`)).body).toMatchObject({
    state: "cancelled",
    error: { code: "cancelled" },
  });
});

test("an embedding is a job too", async () => {
  const { ask, serveModels } = await site();
  await serveModels();
  const { id } = (
    await ask("POST", "/api/jobs", { kind: "embedding", message: ["one", "two"], model: MODEL })
  ).body;
  const { body } = await ask("GET", `/api/jobs/${id}/result?waitMs=60000`);
  expect(body.state).toBe("succeeded");
});

test("a run: started once, followed, queried, updated, signalled, forked, listed", async () => {
  const { ask, work } = await site();
  await work(letter);
  const given = { input: { topic: "tea" }, runId: "tea-1", tags: ["drink"] };
  expect(await ask("POST", "/api/workflows/letter/runs", given)).toMatchObject({
    status: 201,
    body: { id: "tea-1", workflow: "letter", state: "running", tags: ["drink"] },
  });
  expect((await ask("POST", "/api/workflows/letter/runs", given)).body.id).toBe("tea-1");
  expect(
    (await ask("POST", "/api/workflows/letter/runs", { ...given, input: { topic: "milk" } })).status,
  ).toBe(409);
  expect((await ask("GET", "/api/workflows")).body.data).toContainEqual({
    workflow: "letter",
    version: 1,
    workers: 1,
  });
  await waitFor("its question", async () =>
    (await ask("GET", "/api/runs/tea-1")).body.waitsFor.some((what: string) => what.includes("approval")),
  );
  const status = (await ask("GET", "/api/runs/tea-1")).body;
  expect(status, "what it published is for those who may see content").not.toHaveProperty("metadata");
  expect((await ask("GET", "/api/runs/tea-1/queries/phase")).body).toEqual({ value: "writing tea" });
  expect((await ask("GET", "/api/runs/tea-1/queries/none")).status).toBe(404);
  const rename = (to: string) => ask("POST", "/api/runs/tea-1/updates", { name: "rename", data: { to } });
  expect(await rename("leaf")).toMatchObject({
    status: 200,
    body: { state: "succeeded", value: "now leaf" },
  });
  expect((await rename("")).body).toMatchObject({ state: "failed", error: { message: expect.any(String) } });
  expect((await ask("GET", "/api/runs/tea-1/result")).status).toBe(202);
  const signal = { name: "approval", data: { by: "kim" }, dedupeId: "one" };
  const waiting = ask("GET", "/api/runs/tea-1/result?waitMs=60000");
  expect((await ask("POST", "/api/runs/tea-1/signals", signal)).status).toBe(200);
  expect((await waiting).body).toMatchObject({
    state: "succeeded",
    value: { by: "kim", at: { $t: "Date" } },
    typed: true,
  });
  expect((await ask("POST", "/api/runs/tea-1/signals", { name: "approval" })).body.error.code).toBe(
    "run_over",
  );
  const { data: steps } = (await ask("GET", "/api/runs/tea-1/steps")).body;
  expect(steps.map(({ step, state }: Record<string, unknown>) => [step, state])).toContainEqual([
    "write",
    "succeeded",
  ]);
  const fork = await ask("POST", "/api/runs/tea-1/fork", { fromStep: "write", runId: "tea-2" });
  expect(fork).toMatchObject({ status: 201, body: { id: "tea-2", state: "running" } });
  expect((await ask("POST", "/api/runs/tea-2/cancel")).body.state).toBe("cancelled");
  expect((await ask("POST", "/api/runs/tea-2/retry")).body.error.code).toBe("run_not_failed");
  const pages = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const { body } = await ask("GET", `/api/runs?workflow=letter&limit=1${cursor && `&cursor=${cursor}`}`);
    pages.push(...body.data);
    cursor = body.cursor;
  }
  expect(pages.map(({ id }) => id)).toEqual(["tea-2", "tea-1"]);
  expect(
    (await ask("GET", "/api/runs?tag=drink&state=succeeded&from=2020-01-01T00:00:00Z")).body.data,
  ).toHaveLength(1);
});

test("a schedule: created, triggered, paused, resumed, deleted", async () => {
  const { ask } = await site();
  const given = { id: "news", workflow: "letter", input: { topic: "news" }, cron: "0 6 * * *" };
  expect(await ask("POST", "/api/schedules", given)).toMatchObject({
    status: 201,
    body: { id: "news", state: "active", subject: "letter", nextRun: expect.stringMatching(/T06:00:00/) },
  });
  const { run } = (await ask("POST", "/api/schedules/news/trigger")).body;
  expect((await ask("GET", `/api/runs/${run}`)).body.workflow).toBe("letter");
  expect((await ask("POST", "/api/schedules/news/pause")).body.state).toBe("paused");
  expect((await ask("GET", "/api/schedules")).body.data).toMatchObject([{ id: "news", state: "paused" }]);
  expect((await ask("POST", "/api/schedules/news/resume")).body.state).toBe("active");
  const prompt = { id: "joke", completion: { message: "a joke", model: MODEL }, everyMs: 60_000 };
  expect((await ask("POST", "/api/schedules", prompt)).body.kind).toBe("completion");
  expect((await ask("DELETE", "/api/schedules/news")).body).toEqual({ id: "news", deleted: true });
  for (const method of ["GET", "DELETE"]) expect((await ask(method, "/api/schedules/news")).status).toBe(404);
});

test("queues are shown, paused and resumed; a key sees its own use", async () => {
  const { ask, serveModels, store, url } = await site();
  const { id } = (await ask("POST", "/api/jobs", { message: "hello", model: MODEL })).body;
  const queue = async () =>
    (await ask("GET", "/api/queues")).body.data.find(({ key }: { key: string }) => key === MODEL);
  expect(await queue()).toMatchObject({ counts: { waiting: 1 }, pausedByOperator: false });
  expect((await ask("POST", `/api/queues/${MODEL}/pause`)).status).toBe(200);
  expect(await queue()).toMatchObject({
    pausedByOperator: true,
    waitsFor: expect.arrayContaining(["an operator's resume"]),
  });
  await serveModels();
  expect((await ask("POST", `/api/queues/${MODEL}/resume`)).status).toBe(200);
  expect((await ask("GET", `/api/jobs/${id}/result?waitMs=60000`)).body.state).toBe("succeeded");
  expect((await ask("POST", "/api/queues/nobody/resume")).status).toBe(404);
  const other = await makeKey(store, { tenant: "other", scopes: ["operate"] });
  const foreign = restClient(url, other.headers);
  expect((await foreign("POST", `/api/queues/${MODEL}/pause`)).status, "it would stop other tenants").toBe(
    404,
  );
  expect((await foreign("GET", "/api/usage")).body).toMatchObject({
    id: other.id,
    tenant: "other",
    requests: 2,
  });
});

test.each([
  ["an unknown option", { message: "x", model: MODEL, temprature: 1 }, 400, "temprature"],
  ["no message", { model: MODEL }, 400, "message"],
  ["an unknown model", { message: "x", model: "nobody:test" }, 404, "model"],
  ["texts in place of parts", { message: ["a"], model: MODEL }, 400, "message"],
  ["words of our own", { message: "x", model: MODEL, extra: { responses: {} } }, 400, "extra.responses"],
  ["a key in the body", { message: "x", model: MODEL, idempotencyKey: "k" }, 400, "idempotencyKey"],
])("%s is refused with its name", async (_what, body, status, param) => {
  const { ask } = await site();
  expect(await ask("POST", "/api/jobs", body)).toMatchObject({ status, body: { error: { param } } });
});

test("odd ids, queries and bodies are refused, by each route, and nothing breaks", {
  tags: "long",
}, async () => {
  const { ask } = await site();
  // A stream that names nothing has no odd ids, and no end.
  const routes = ROUTE_GROUPS.filter(({ basePath }) => basePath === "/api")
    .flatMap(({ routes: all }) => all)
    .filter(({ path, answerType }) => answerType !== "text/event-stream" || path.includes(":"));
  const ids = [
    "x",
    "job-x",
    "-1",
    "%00",
    "%2e%2e%2fx",
    "a".repeat(3000),
    "constructor",
    "letter",
    "a%3Ajournal",
    "💥",
  ];
  const queries = [
    "?waitMs=-1",
    "?waitMs=1e99",
    "?limit=0",
    "?cursor=x",
    "?from=soon",
    "?state=odd",
    "?a[]=1",
  ];
  const odd = [
    null,
    [],
    "x",
    0,
    {},
    { id: {} },
    { input: [] },
    { name: 1 },
    { message: null },
    { fromStep: [] },
  ];
  const more = [
    { name: "__proto__", data: { $t: "Map", v: 1 } },
    { id: "x", everyMs: -1, completion: "x" },
  ];
  const asked = routes.flatMap(
    ({ method, path, body }): { method: string; path: string; sent?: unknown }[] => {
      if (body)
        return [...odd, ...more].map((sent) => ({ method, path: path.replace(/:\w+/, "letter"), sent }));
      const named = ids.map((id) => path.replace(/:\w+/g, id));
      return [...named, ...queries.map((query) => path.replace(/:\w+/g, "x") + query)].map((at) => ({
        method,
        path: at,
      }));
    },
  );
  for (const { method, path, sent } of asked) {
    const { status, body } = await ask(method.toUpperCase(), `/api${path}`, sent);
    // 503: a part of the service that is off here.
    expect([method, path, sent, status < 500 || status === 503]).toEqual([method, path, sent, true]);
    if (status >= 400)
      expect(body.error).toMatchObject({ message: expect.any(String), code: expect.any(String) });
  }
});
