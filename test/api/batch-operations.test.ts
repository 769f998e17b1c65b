import OpenAI from "openai";
import { expect, test } from "vitest";
import { saveBatch } from "../../src/store/batch.ts";
import { makeKey, openApi } from "../support/api.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { restClient } from "../support/rest-client.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const CHAT = "/v1/chat/completions";

async function service(latencyMs = 2) {
  const parts = await workflowSite(
    { latencyMs },
    {
      GLUELLM_DATA_DIR: temporaryFolder(),
      GLUELLM_PRICES: JSON.stringify({
        "simulator:priced": { inputPerMillion: 1000, outputPerMillion: 1000 },
      }),
    },
  );
  const { url, store } = await openApi(parts.settings);
  await parts.serveModels();
  const { token, headers } = await makeKey(store, {
    scopes: ["complete", "batch", "workflow", "read", "operate"],
  });
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
  const ask = restClient(url, headers);
  const submit = (contents: readonly string[]) =>
    submitBatch(openai, contents, { metadata: { job: "nightly" } });
  const shown = async (id: string) => (await ask("GET", `/api/batches/${id}`)).body;
  const until = (id: string, state: string) =>
    waitFor(`${id} is ${state}`, async () => (await shown(id)).state === state);
  return { ...parts, url, store, ask, submit, shown, until, openai };
}

const REFUSED = 'no\n#sim {"unknown": 1}';

test("batches are listed by state, told with rows, causes of failures and files, and retried once", async () => {
  const { ask, submit, shown, until, store, url, openai } = await service();
  const { id } = await submit(["one", REFUSED, "three", `${REFUSED} `]);
  await until(id, "completed");
  expect(await shown(id)).toMatchObject({
    ...{ id, source: "service", endpoint: CHAT, metadata: { job: "nightly" }, faults: [] },
    rows: { total: 4, succeeded: 2, failed: 2, queued: 0, unsent: 0 },
    ...{ rowsPerSecond: null, etaMs: null, costUsd: null, expiresAt: expect.any(String) },
    ...{ outputFileId: expect.any(String), errorFileId: expect.any(String), retriedAs: null },
  });
  const { data } = (await ask("GET", `/api/batches/${id}/failures`)).body;
  expect(data).toMatchObject([{ code: "invalid_request", rows: 2, customIds: ["row-1", "row-3"] }]);
  expect(data[0].providerMessage).toEqual(expect.any(String));
  const viewer = restClient(url, (await makeKey(store, { scopes: ["read"] })).headers);
  const told = (await viewer("GET", `/api/batches/${id}/failures`)).body.data[0];
  expect([told.rows, told.providerMessage]).toEqual([2, undefined]);
  expect((await viewer("GET", `/api/batches/${id}/output`)).status).toBe(403);
  const output = (await ask("GET", `/api/batches/${id}/output`)).body.trim().split("\n");
  expect(output.map((line: string) => JSON.parse(line).custom_id)).toEqual(["row-0", "row-2"]);
  const range = await ask("GET", `/api/batches/${id}/errors`, undefined, { range: "bytes=0-3" });
  expect([range.status, range.body]).toEqual([206, '{"id']);

  const again = await Promise.all([0, 1, 2].map(() => ask("POST", `/api/batches/${id}/retry`)));
  const [retry] = new Set(again.map(({ body }) => body.id));
  expect(again.map(({ status, body }) => [status, body.id])).toEqual(Array(3).fill([201, retry]));
  const inputs = await openai.files.list({ purpose: "batch" });
  expect(inputs.data, "its own and that of the retry").toHaveLength(2);
  await until(retry, "completed");
  expect(await shown(retry)).toMatchObject({ retryOf: id, rows: { total: 2, failed: 2 } });
  expect((await shown(id)).retriedAs).toBe(retry);

  // Of a program: it has its own files.
  const program = "batch_0123456789abcdef01234567";
  await saveBatch(store, { id: program, status: "in_progress", input: "/in", output: "/out", total: 9 });
  const broken = await submit([]);
  await until(broken.id, "failed");
  const pages: string[][] = [];
  for (let cursor = ""; ; ) {
    const page = (await ask("GET", `/api/batches?limit=2${cursor && `&cursor=${cursor}`}`)).body;
    pages.push(page.data.map((batch: { id: string }) => batch.id));
    if (page.cursor === null) break;
    cursor = page.cursor;
  }
  expect(pages).toEqual([
    [broken.id, program],
    [retry, id],
  ]);
  const listed = async (state: string) =>
    (await ask("GET", `/api/batches?state=${state}`)).body.data.map((batch: { id: string }) => batch.id);
  expect(await listed("failed")).toEqual([broken.id]);
  expect(await listed("in_progress")).toEqual([program]);
  expect((await shown(broken.id)).faults).toMatchObject([{ code: "empty_file", line: null }]);
  expect(await shown(program)).toMatchObject({ source: "program", rows: { total: 9, unsent: 9 } });
  for (const call of ["pause", "resume", "retry"])
    expect((await ask("POST", `/api/batches/${program}/${call}`)).body.error?.code).toBe("batch_of_program");
  expect((await ask("POST", `/api/batches/${program}/cancel`)).body.state).toBe("cancelled");
  for (const [call, code] of [
    ["pause", "batch_over"],
    ["cancel", "batch_not_cancellable"],
    ["retry", "nothing_to_retry"],
  ])
    expect((await ask("POST", `/api/batches/${broken.id}/${call}`)).body.error?.code).toBe(code);
  expect((await ask("GET", `/api/batches/${broken.id}/output`)).status).toBe(409);
  expect((await ask("GET", "/api/batches?cursor=x")).body.error.param).toBe("cursor");
});

test("failed rows are dead letters of their batch: counted, quoted, and sent again with a change in a new batch", async () => {
  const { ask, submit, shown, until } = await service();
  const { id } = await submit(["one", REFUSED]);
  await until(id, "completed");
  const where = { kind: "batch", id };
  const letters = async () => (await ask("GET", `/api/dead-letters?id=${id}`)).body.data;
  expect(await letters()).toMatchObject([{ kind: "batch", subject: id, count: 1 }]);
  const replay = (change: object) => ask("POST", "/api/dead-letters/replay", { where, ...change });
  const dry = (await replay({ dryRun: true, model: "simulator:priced" })).body;
  expect(dry).toMatchObject({ matched: 1, rows: 1, changed: 0, quoteUsd: expect.any(Number) });
  const edit = { messages: [{ role: "user", content: "mended" }], max_tokens: 5 };
  const { body } = await replay({ edit });
  const again = body.replayed[id];
  expect(body).toMatchObject({ changed: 1, failures: [] });
  await until(again, "completed");
  expect(await shown(again)).toMatchObject({ retryOf: id, rows: { total: 1, succeeded: 1 } });
  expect(await letters()).toEqual([]);
});

test("a paused batch sends nothing until it is resumed; nothing is paid twice", {
  tags: "long",
}, async () => {
  const { ask, submit, shown, until, site } = await service(150);
  const { id } = await submit(Array.from({ length: 400 }, (_, n) => `paused question ${n}`));
  await waitFor("20 answers", () => site.paidCalls().size > 20);
  await waitFor("its pace", async () => {
    const { rows, rowsPerSecond, etaMs } = await shown(id);
    return rows.queued > 0 && rowsPerSecond > 0 && etaMs > 0;
  });
  expect((await ask("POST", `/api/batches/${id}/pause`)).body.state).toBe("paused");
  const settled = async () => {
    const before = site.paidCalls().size;
    const { rows } = await shown(id);
    return rows.succeeded === before && rows.queued === 0;
  };
  await waitFor("the calls in flight", settled);
  const paid = site.paidCalls().size;
  expect(paid).toBeLessThan(400);
  expect(await shown(id)).toMatchObject({ state: "paused", etaMs: null });
  expect((await ask("GET", "/api/batches?state=paused")).body.data).toHaveLength(1);
  expect((await ask("POST", `/api/batches/${id}/resume`)).body.state).toBe("in_progress");
  site.simulator.setLatency({ latencyMs: 2, jitterMs: 0 });
  await until(id, "completed");
  expect([site.paidCalls().size, site.repeatedCalls()]).toEqual([400, 0]);
});
