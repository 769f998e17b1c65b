import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { describe, expect, test } from "vitest";
import { loadSettings } from "../../src/shared/settings.ts";
import { readFile, saveFile } from "../../src/store/file-record.ts";
import { makeKey, openApi, type TestApi } from "../support/api.ts";
import { runProcess } from "../support/processes.ts";
import { isEncrypted } from "../support/redis.ts";

const TEXT = Array.from({ length: 200 }, (_, n) => `line ${n}\n`).join("");

const MAX_BYTES = 100_000;

async function openClient() {
  const { api: defaults } = loadSettings({ env: {} });
  const api = await openApi({ api: { ...defaults, maxFileBytes: MAX_BYTES } });
  const clientOf = async (tenant: string) => {
    const { token } = await makeKey(api.store, { tenant });
    return new OpenAI({ baseURL: `${api.url}/v1`, apiKey: token, maxRetries: 0 });
  };
  const { headers } = await makeKey(api.store);
  return { api, headers, openai: await clientOf("default"), clientOf };
}

const folderOf = ({ settings }: TestApi) => join(settings.dataDir, "files", settings.namespace);

/** Sends a multipart body as it is written. */
function post(
  api: TestApi,
  headers: Record<string, string>,
  body: string | Uint8Array,
  type = "multipart/form-data; boundary=b",
) {
  return fetch(`${api.url}/v1/files`, {
    method: "POST",
    headers: { ...headers, "content-type": type },
    body: body as string,
  });
}
const part = (name: string, value: string, more = "") =>
  `--b\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;

describe("a file", () => {
  test("is stored, found, read in ranges and deleted by OpenAI's client", async () => {
    const { api, openai } = await openClient();
    const file = await openai.files.create({
      file: await toFile(Buffer.from(TEXT), "in.jsonl"),
      purpose: "user_data",
      expires_after: { anchor: "created_at", seconds: 7200 },
    });
    expect(file).toMatchObject({
      object: "file",
      bytes: TEXT.length,
      filename: "in.jsonl",
      purpose: "user_data",
      status: "processed",
    });
    expect(file.expires_at).toBe(file.created_at + 7200);
    expect(await openai.files.retrieve(file.id)).toMatchObject({ id: file.id, bytes: TEXT.length });
    expect(await (await openai.files.content(file.id)).text()).toBe(TEXT);
    const stored = join(folderOf(api), file.id);
    expect(readFileSync(stored, "utf8") === TEXT).toBe(!isEncrypted);
    expect([statSync(stored).mode & 0o777, statSync(folderOf(api)).mode & 0o777]).toEqual([0o600, 0o700]);

    const ranges: [string, number, string][] = [
      ["bytes=0-4", 206, TEXT.slice(0, 5)],
      ["bytes=-5", 206, TEXT.slice(-5)],
      ["bytes=1600-999999", 206, TEXT.slice(1600)],
      ["bytes=0-1,4-5", 200, TEXT],
      ["lines=1-2", 200, TEXT],
    ];
    for (const [range, status, text] of ranges) {
      const response = await openai.files.content(file.id, { headers: { range } });
      expect([range, response.status, await response.text()]).toEqual([range, status, text]);
    }
    await expect(
      openai.files.content(file.id, { headers: { range: "bytes=999999-" } }),
    ).rejects.toMatchObject({ status: 416 });

    expect(await openai.files.delete(file.id)).toEqual({ id: file.id, object: "file", deleted: true });
    for (const call of ["retrieve", "content", "delete"] as const)
      await expect(openai.files[call](file.id)).rejects.toMatchObject({ status: 404, code: "not_found" });
    expect(readdirSync(folderOf(api))).toEqual([]);
  });

  test("is listed page by page, each once, and by purpose", async () => {
    const { openai } = await openClient();
    const ids: string[] = [];
    for (const n of [0, 1, 2, 3, 4]) {
      const file = await toFile(Buffer.from(`${n}`), `${n}`);
      const { id } = await openai.files.create({ file, purpose: n === 2 ? "user_data" : "batch" });
      ids.push(id);
    }
    for (const limit of [1, 2, 5, 100]) {
      const all = await Array.fromAsync(openai.files.list({ limit, order: "asc" }));
      expect(all.map(({ id }) => id)).toEqual(ids);
    }
    const page = await openai.files.list({ limit: 2 });
    expect([page.data.map(({ id }) => id), page.has_more]).toEqual([[ids[4], ids[3]], true]);
    const last = await openai.files.list({ limit: 3, after: ids[3] ?? "" });
    expect([last.data.length, last.has_more]).toEqual([3, false]);
    // The one that a page ended with may be deleted before the next one is asked for.
    await openai.files.delete(ids[3] ?? "");
    expect((await openai.files.list({ after: ids[3] ?? "" })).data.map(({ id }) => id)).toEqual(
      ids.slice(0, 3).reverse(),
    );
    const batch = await openai.files.list({ purpose: "batch", limit: 2, order: "asc" });
    expect([batch.data.map(({ id }) => id), batch.has_more]).toEqual([[ids[0], ids[1]], true]);
    expect((await openai.files.list({ purpose: "vision" })).data).toEqual([]);
    await expect(openai.files.list({ limit: 0 })).rejects.toMatchObject({ status: 400, param: "limit" });
  });

  test("of another tenant is not there, whatever is asked", async () => {
    const { openai, clientOf } = await openClient();
    const { id } = await openai.files.create({ file: await toFile(Buffer.from("x"), "x"), purpose: "batch" });
    const other = await clientOf("other");
    for (const call of ["retrieve", "content", "delete"] as const)
      await expect(other.files[call](id)).rejects.toMatchObject({ status: 404 });
    expect((await other.files.list()).data).toEqual([]);
    await expect(
      other.batches.create({ input_file_id: id, endpoint: "/v1/embeddings", completion_window: "24h" }),
    ).rejects.toMatchObject({ status: 400, param: "input_file_id" });
    expect((await openai.files.retrieve(id)).id).toBe(id);
  });

  test("that has expired is nobody's any more", async () => {
    const { api, openai } = await openClient();
    const { id } = await openai.files.create({ file: await toFile(Buffer.from("x"), "x"), purpose: "batch" });
    const record = await readFile(api.store, id, "default");
    await saveFile(api.store, { ...record!, expiresAt: Date.now() - 1 });
    await expect(openai.files.content(id)).rejects.toMatchObject({ status: 404 });
    expect((await openai.files.list()).data).toEqual([]);
  });
});

describe("an upload that is refused leaves nothing behind", () => {
  const whole = part("file", TEXT, '; filename="a"');
  test.each([
    ["without a purpose", `${whole}--b--\r\n`, 400, "purpose"],
    ["with a purpose of ours", `${whole}${part("purpose", "batch_output")}--b--\r\n`, 400, "purpose"],
    ["without a file", `${part("purpose", "batch")}--b--\r\n`, 400, "file"],
    ["with two files", `${whole}${whole}${part("purpose", "batch")}--b--\r\n`, 400, "file"],
    ["with a file under another name", `${part("data", "x", '; filename="a"')}--b--\r\n`, 400, "data"],
    ["that breaks off", whole, 400, "file"],
    [
      "with half an expiry",
      `${whole}${part("purpose", "batch")}${part("expires_after[seconds]", "7200")}--b--\r\n`,
      400,
      "expires_after.seconds",
    ],
    [
      "with a wrong expiry",
      `${whole}${part("purpose", "batch")}${part("expires_after[anchor]", "created_at")}${part("expires_after[seconds]", "1")}--b--\r\n`,
      400,
      "expires_after.seconds",
    ],
    ["with a long field", `${part("purpose", "b".repeat(2000))}${whole}--b--\r\n`, 400, "purpose"],
    [
      "with many fields",
      `${Array.from({ length: 50 }, (_, n) => part(`f${n}`, "x")).join("")}--b--\r\n`,
      400,
      "file",
    ],
    ["with a wide head", `--b\r\nx: ${"y".repeat(100_000)}\r\n\r\n--b--\r\n`, 400, "file"],
    ["that is empty", "", 400, "file"],
    [
      "that is too large",
      `${part("file", "x".repeat(300_000), '; filename="a"')}${part("purpose", "batch")}--b--\r\n`,
      413,
      "file",
    ],
  ])("%s", async (_, body, status, param) => {
    const { api, headers } = await openClient();
    const response = await post(api, headers, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({
      error: { param, type: "invalid_request_error", code: expect.any(String) },
    });
    expect(spools(api)).toBe(0);
  });

  test("as another type than a form", async () => {
    const { api, headers } = await openClient();
    for (const type of ["application/json", "multipart/form-data", "text/plain"]) {
      const response = await post(api, headers, "{}", type);
      expect([type, response.status]).toEqual([type, type.startsWith("multipart") ? 400 : 415]);
    }
  });

  test("and one whose client goes away", async () => {
    const { api, headers } = await openClient();
    const gone = new AbortController();
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(part("file", TEXT, '; filename="a"').slice(0, 500)));
      },
    });
    const request = fetch(`${api.url}/v1/files`, {
      method: "POST",
      headers: { ...headers, "content-type": "multipart/form-data; boundary=b" },
      body,
      duplex: "half",
      signal: gone.signal,
    } as RequestInit);
    request.catch(() => {});
    await expect.poll(() => spools(api)).toBe(1);
    gone.abort();
    await expect.poll(() => spools(api)).toBe(0);
  });
});

function spools(api: TestApi): number {
  try {
    return readdirSync(folderOf(api)).length;
  } catch {
    return 0;
  }
}

test("names of files are ids only, and curl uploads too", async () => {
  const { api, openai, headers } = await openClient();
  for (const id of ["..%2f..%2fetc%2fpasswd", "file-..", "%00", "spool-x", `file-${"0".repeat(36)}`]) {
    const response = await fetch(`${api.url}/v1/files/${id}/content`, { headers });
    expect([id, response.status]).toEqual([id, 404]);
  }
  const { stdout } = await runProcess(
    "curl",
    [
      ...["-sS", `${api.url}/v1/files`, "-H", `authorization: ${headers.authorization}`],
      ...["-F", "purpose=batch", "-F", "file=@-;filename=../../x.jsonl"],
    ],
    { input: TEXT },
  );
  const { id, filename } = JSON.parse(stdout);
  expect(filename).not.toContain("/");
  expect(await (await openai.files.content(id)).text()).toBe(TEXT);
});
