import { gzipSync } from "node:zlib";
import OpenAI, { toFile } from "openai";
import { expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";
import { makeKey, openApi } from "../support/api.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

/* What is wrong with the lines of an upload is known when it has come. */

const CHAT = "/v1/chat/completions";
const line = (n: number, more: object = {}, body: object = {}) =>
  JSON.stringify({
    ...{ custom_id: `row-${n}`, method: "POST", url: CHAT, ...more },
    body: { model: MODEL, messages: [{ role: "user", content: `question\u2028${n}` }], ...body },
  });

async function openClient() {
  const settings = loadSettings({ env: { GLUELLM_API_MAX_BATCH_ROWS: "200" } });
  const api = await openApi({ api: settings.api });
  const { token, headers } = await makeKey(api.store);
  const openai = new OpenAI({ baseURL: `${api.url}/v1`, apiKey: token, maxRetries: 0 });
  const upload = async (text: string | Buffer, purpose: "batch" | "user_data" = "batch") =>
    (await openai.files.create({
      file: await toFile(Buffer.from(text), "in.jsonl"),
      purpose,
    })) as OpenAI.FileObject & {
      errors?: { data: { code: string; line: number | null }[] };
    };
  return { api, openai, headers, upload };
}

test("a file says which of its lines are wrong, and a batch of it has failed at once, with the same", async () => {
  const { openai, upload } = await openClient();
  const text = [
    line(0),
    "",
    "{no json",
    line(0),
    line(1, { method: "GET" }),
    line(2, { url: "/v1/embeddings" }),
    line(3, {}, { model: "nobody:x" }),
    line(4, {}, { messages: "hello" }),
    line(5, {}, { model: "nobody:x" }),
  ].join("\n");
  const file = await upload(text);
  expect(file).toMatchObject({
    status: "error",
    status_details: expect.stringMatching(/^line 3: .*; 5 more$/),
  });
  const told = file.errors?.data.map(({ line: at, code }) => [at, code]);
  expect(told).toEqual([
    [3, "invalid_json_line"],
    [4, "duplicate_custom_id"],
    [5, "invalid_method"],
    [6, "mismatched_endpoint"],
    [7, "unknown_provider"],
    [8, "invalid_request"],
  ]);
  expect(await openai.files.retrieve(file.id)).toEqual(file);
  const made = { input_file_id: file.id, endpoint: CHAT, completion_window: "24h" } as const;
  const { id } = await openai.batches.create(made);
  await waitFor("its end", async () => (await openai.batches.retrieve(id)).status === "failed");
  const { errors } = await openai.batches.retrieve(id);
  expect(errors?.data?.map(({ line: at, code }) => [at, code])).toEqual(told);
  // Of another endpoint all its lines are wrong.
  const other = await openai.batches.create({ ...made, endpoint: "/v1/embeddings" });
  await waitFor("its end", async () => (await openai.batches.retrieve(other.id)).status === "failed");
  expect((await openai.batches.retrieve(other.id)).errors?.data?.[0]).toMatchObject({
    line: 1,
    code: "mismatched_endpoint",
  });
  expect(await upload(text, "user_data")).toMatchObject({ status: "processed", status_details: null });
});

test.each<[string, string | Buffer, [number | null, string][]]>([
  ["a byte order mark, CRLF, empty lines, no last line end", `\ufeff${line(0)}\r\n\r\n  \n${line(1)}`, []],
  ["no line", "\n\n", [[null, "empty_file"]]],
  ["nothing", "", [[null, "empty_file"]]],
  ["too many lines", Array.from({ length: 201 }, (_, n) => line(n)).join("\n"), [[null, "too_many_rows"]]],
  ["gzip", gzipSync(Array.from({ length: 99 }, (_, n) => line(n)).join("\n")), [[1, "compressed_file"]]],
  [
    "no UTF-8",
    Buffer.concat([Buffer.from(`${line(0)}\n`), Buffer.from([0x7b, 0xff])]),
    [[2, "invalid_encoding"]],
  ],
  ["a foreign endpoint", line(0, { url: "/v1/images" }), [[1, "mismatched_endpoint"]]],
  ["a last line that is cut", `${line(0)}\n${line(1).slice(0, 40)}`, [[2, "invalid_json_line"]]],
  [
    "more faults than are told",
    "x\n".repeat(150),
    Array.from({ length: 100 }, (_, n) => [n + 1, "invalid_json_line"]),
  ],
])("of a file with %s", async (_, text, faults) => {
  const { upload } = await openClient();
  const { status, errors } = await upload(text);
  expect(errors?.data.map(({ line: at, code }) => [at, code]) ?? []).toEqual(faults);
  expect(status).toBe(faults.length > 0 ? "error" : "processed");
});

test("an upload that asks for it is refused while it comes; a packed one is refused", async () => {
  const { api, headers, upload } = await openClient();
  const post = (body: string | Uint8Array | ReadableStream, more: Record<string, string>) =>
    fetch(`${api.url}/v1/files`, {
      ...{ method: "POST", body, duplex: "half" },
      headers: { ...headers, "content-type": "multipart/form-data; boundary=b", ...more },
    } as RequestInit);
  const head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n';
  // It never ends.
  const endless = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(`${head}${line(0)}\n{no\n${line(2)}`)),
  });
  const answer = await post(endless, { "x-gluellm-on-line-error": "refuse" });
  expect([answer.status, await answer.json()]).toMatchObject([
    400,
    { error: { code: "invalid_json_line", param: "file", message: expect.stringContaining("line 2: ") } },
  ]);
  const packed = await post(gzipSync(`${head}${line(0)}\r\n--b--\r\n`), { "content-encoding": "gzip" });
  expect([packed.status, await packed.json()]).toMatchObject([
    415,
    { error: { code: "encoding_unsupported" } },
  ]);
  expect((await upload(line(0))).status).toBe("processed");
});
