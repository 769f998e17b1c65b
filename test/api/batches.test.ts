import { readdirSync } from "node:fs";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ServedApi, serveApi } from "../support/served-api.ts";
import { CHAT, chatLine, clientOf, ended, lines, results, rows, submit } from "../support/served-batches.ts";
import { MODEL } from "../support/site.ts";

/* Batches of the API, by OpenAI's client against a served process. */

let api: ServedApi;
let openai: OpenAI;
beforeAll(async () => {
  api = await serveApi({}, { GLUELLM_API_MAX_BATCH_ROWS: "1000" });
  openai = new OpenAI({ baseURL: api.baseURL, apiKey: api.apiKey, maxRetries: 0 });
});
afterAll(() => api.site[Symbol.asyncDispose]());

/** The provider answers it with 400. */
const REFUSED = 'no\n#sim {"unknown": 1}';
const says = (reply: string) => `say it\n#sim ${JSON.stringify({ reply })}`;

describe("a batch", () => {
  test("of chat completions: one row is refused, the others answered, in order", async () => {
    const asked = [0, 1, 2, 3].map((n) => chatLine(n, n === 2 ? REFUSED : says(`answer ${n}`)));
    const metadata = { job: "nightly", n: "7" };
    const made = await submit(openai, asked, CHAT, { metadata, completion_window: "24h" });
    expect(made).toMatchObject({
      object: "batch",
      status: "validating",
      endpoint: CHAT,
      completion_window: "24h",
      metadata,
      output_file_id: null,
      errors: null,
    });
    expect(made.expires_at).toBe(made.created_at + 86_400);
    const batch = await ended(openai, made.id);
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: 4, completed: 3, failed: 1 },
      usage: { input_tokens: expect.any(Number), output_tokens_details: { reasoning_tokens: 0 } },
    });
    expect(batch.usage!.total_tokens).toBe(batch.usage!.input_tokens + batch.usage!.output_tokens);
    expect(batch.usage!.output_tokens).toBeGreaterThan(0);
    for (const stamp of [batch.in_progress_at, batch.finalizing_at, batch.completed_at])
      expect(stamp).toBeGreaterThanOrEqual(made.created_at);
    const output = await results(openai, batch.output_file_id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(["row-0", "row-1", "row-3"]);
    for (const { custom_id, response, error } of output) {
      expect([response?.status_code, error]).toEqual([200, null]);
      expect(response?.body).toMatchObject({
        object: "chat.completion",
        choices: [{ message: { content: `answer ${custom_id.slice(4)}` } }],
      });
    }
    const errors = await results(openai, batch.error_file_id);
    expect(errors).toMatchObject([
      { custom_id: "row-2", response: { status_code: 400 }, error: { code: expect.any(String) } },
    ]);
    expect(await openai.files.retrieve(batch.output_file_id!)).toMatchObject({ purpose: "batch_output" });
    const range = await openai.files.content(batch.output_file_id!, { headers: { range: "bytes=0-9" } });
    expect([range.status, (await range.text()).length]).toEqual([206, 10]);
    expect(readdirSync(join(api.site.path(".gluellm"), "batches", api.site.namespace))).toEqual([]);
  });

  test.each([
    [
      "/v1/embeddings",
      { model: MODEL, input: ["one", "two"] },
      { object: "list", data: [{ index: 0 }, { index: 1 }] },
    ],
    ["/v1/responses", { model: MODEL, input: says("Four.") }, { object: "response", status: "completed" }],
  ] as const)("of %s", async (endpoint, body, answer) => {
    const batch = await submit(openai, [{ custom_id: "a", method: "POST", url: endpoint, body }], endpoint);
    const { output_file_id } = await ended(openai, batch.id);
    expect((await results(openai, output_file_id))[0]?.response?.body).toMatchObject(answer);
  });

  test("of which every row fails has an error file alone", async () => {
    const batch = await submit(openai, [chatLine(0, REFUSED), chatLine(1, REFUSED)]);
    const { status, output_file_id, error_file_id, request_counts } = await ended(openai, batch.id);
    expect([status, output_file_id, request_counts?.failed]).toEqual(["completed", null, 2]);
    expect(await results(openai, error_file_id)).toHaveLength(2);
  });

  test("whose lines are wrong fails before anything is sent, with their numbers", async () => {
    const before = api.site.simulator.journal.entries().length;
    const good = chatLine(0);
    const batch = await submit(openai, [
      good,
      "{not json",
      { ...chatLine(2), custom_id: "row-0" },
      { ...chatLine(3), method: "GET" },
      { ...chatLine(4), url: "/v1/embeddings" },
      "",
      { ...chatLine(6), custom_id: undefined },
      { ...chatLine(7), body: { model: "nobody:x", messages: [] } },
      { ...chatLine(8), body: { model: MODEL, messages: "hello" } },
      { ...chatLine(9), body: undefined },
      { prompt: "hello" },
    ]);
    const { status, errors, output_file_id, failed_at } = await ended(openai, batch.id);
    expect([status, output_file_id, typeof failed_at]).toEqual(["failed", null, "number"]);
    expect(errors?.data?.map(({ line, code }) => [line, code])).toEqual([
      [2, "invalid_json_line"],
      [3, "duplicate_custom_id"],
      [4, "invalid_method"],
      [5, "mismatched_endpoint"],
      [7, "missing_required_parameter"],
      [8, expect.any(String)],
      [9, expect.any(String)],
      [10, "missing_required_parameter"],
      [11, "missing_required_parameter"],
    ]);
    expect(api.site.simulator.journal.entries().length).toBe(before);
  });

  test("of an empty file, or of too many lines, fails too", async () => {
    const empty = await submit(openai, ["", ""]);
    expect((await ended(openai, empty.id)).errors?.data).toMatchObject([{ code: "empty_file", line: null }]);
    const many = await submit(
      openai,
      Array.from({ length: 1001 }, (_, n) => chatLine(n)),
    );
    expect((await ended(openai, many.id)).errors?.data).toMatchObject([{ code: "too_many_rows" }]);
  });

  test("of a key with a cost limit needs prices", async () => {
    const key = (await api.site.run("keys", "create", "--max-usd", "1")).stdout.trim();
    const limited = clientOf({ ...api, apiKey: key });
    const { id } = await submit(limited, rows(1));
    expect((await ended(limited, id)).errors?.data).toMatchObject([{ code: "unpriced_model", line: 1 }]);
  });

  test("is refused at once for what it names", async () => {
    const file = await openai.files.create({
      file: await toFile(Buffer.from("x"), "x"),
      purpose: "user_data",
    });
    const created = (more: object) =>
      openai.batches
        .create({ input_file_id: file.id, endpoint: CHAT, completion_window: "24h", ...more } as never)
        .then(
          () => "made",
          ({ status, param }) => [status, param],
        );
    expect(await created({})).toEqual([400, "input_file_id"]);
    expect(await created({ input_file_id: "file-none" })).toEqual([400, "input_file_id"]);
    expect(await created({ endpoint: "/v1/images" })).toEqual([400, "endpoint"]);
    for (const window of ["24", "0h", "1d", "999h", 24])
      expect(await created({ completion_window: window })).toEqual([400, "completion_window"]);
    expect(await created({ output_expires_after: { anchor: "created_at", seconds: 5 } })).toEqual([
      400,
      "output_expires_after.seconds",
    ]);
    const pairs = Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`k${n}`, "v"]));
    expect(await created({ metadata: pairs })).toEqual([400, "metadata"]);
    expect(await created({ metadata: { k: 1 } })).toEqual([400, "metadata.k"]);
    for (const call of ["retrieve", "cancel"] as const)
      await expect(openai.batches[call]("batch_none")).rejects.toMatchObject({ status: 404 });
  });
});

test("batches are listed page by page; a request that comes again is the same batch", async () => {
  const { id: input_file_id } = await openai.files.create({
    file: await toFile(Buffer.from(lines([chatLine(0)])), "in.jsonl"),
    purpose: "batch",
  });
  const body = { input_file_id, endpoint: CHAT, completion_window: "24h" } as const;
  const named = { headers: { "idempotency-key": "once" } };
  const first = await openai.batches.create(body, named);
  const second = await openai.batches.create(body, named);
  expect(second.id).toBe(first.id);
  await expect(openai.batches.create({ ...body, metadata: { a: "b" } }, named)).rejects.toMatchObject({
    status: 409,
  });
  const third = await openai.batches.create(body);
  const ids = (await Array.fromAsync(openai.batches.list({ limit: 2 }))).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.slice(0, 2)).toEqual([third.id, first.id]);
  const page = await openai.batches.list({ limit: 1, after: third.id });
  expect([page.data[0]?.id, page.has_more]).toEqual([first.id, ids.length > 2]);
});
