import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { createAdapter } from "../../src/providers/create-adapter.ts";
import { AuthenticationError, ConfigurationError } from "../../src/shared/errors.ts";
import { Secret } from "../../src/shared/secret.ts";
import { runProcess } from "../support/processes.ts";
import {
  callOf,
  chat,
  DIALECTS,
  failureOf,
  goodBody,
  MODELS,
  TEST_KEY,
  testAdapter,
  testEntry,
} from "../support/provider.ts";
import { waitFor } from "../support/wait-for.ts";
import { deadUrl, sendJson, wireServer } from "../support/wire-server.ts";

const HTML = "<html><body>Please sign in</body></html>";

/** Answers with status 200 that are no answers. */
const UNUSABLE: [string, (response: ServerResponse, good: string) => void][] = [
  ["a proxy's page", (response) => response.writeHead(200, { "content-type": "text/html" }).end(HTML)],
  ["a page that claims to be JSON", (response) => sendJson(response, HTML)],
  ["nothing", (response) => response.writeHead(200, { "content-type": "application/json" }).end()],
  ["no content", (response) => response.writeHead(204).end()],
  ["JSON that ends too early", (response, good) => sendJson(response, good.slice(0, -20))],
  ["JSON null", (response) => sendJson(response, "null")],
  ["a list", (response) => sendJson(response, [])],
  ["an object of another kind", (response) => sendJson(response, { ok: true, choices: "many" })],
  ["no choice and no content", (response) => sendJson(response, { id: "x", choices: [], content: "none" })],
];

describe.each(DIALECTS)("the %s adapter on the wire", (dialect) => {
  const good = JSON.stringify(goodBody(dialect));

  it.each(UNUSABLE)("calls %s an invalid response", async (_name, answer) => {
    const server = await wireServer((response) => answer(response, good));
    const error = await failureOf(
      testAdapter(testEntry(dialect, server.url)).complete(callOf(dialect, "Hello")),
    );
    expect(error).toMatchObject({ name: "APIConnectionError", code: "invalid_response" });
    expect(server.requests).toHaveLength(1);
  });

  it("reads no more of a compressed answer than of a plain one", async () => {
    const bomb = gzipSync(Buffer.alloc(65 * 1024 * 1024, " "), { level: 1 });
    const server = await wireServer((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end(bomb);
    });
    const call = testAdapter(testEntry(dialect, server.url)).complete(callOf(dialect, "Hello"));
    expect(((await failureOf(call)) as Error).message).toContain("UND_ERR_RES_EXCEEDED_MAX_SIZE");
  });

  it("reads a compressed answer", async () => {
    const server = await wireServer((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
      response.end(gzipSync(good));
    });
    const call = testAdapter(testEntry(dialect, server.url)).complete(callOf(dialect, "Hello"));
    expect((await call).statusCode).toBe(200);
  });

  it("calls a body that breaks off a connection fault", async () => {
    const server = await wireServer((response, _request, socket) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": good.length });
      response.write(good.slice(0, 30), () => socket.destroy());
    });
    const error = await failureOf(
      testAdapter(testEntry(dialect, server.url)).complete(callOf(dialect, "Hello")),
    );
    expect(error).toMatchObject({ name: "APIConnectionError", code: "connection" });
    expect((error as Error).message).toMatch(/UND_ERR_SOCKET|ECONNRESET/);
  });

  it("ends a body that never ends: at the deadline, and on abort", async () => {
    const server = await wireServer((response) => {
      response.writeHead(200, { "content-type": "application/json" }).write(good.slice(0, 30));
    });
    const adapter = testAdapter(testEntry(dialect, server.url));
    const late = await failureOf(adapter.complete(callOf(dialect, "Hello", { timeoutMs: 150 })));
    expect(late).toMatchObject({ name: "APIConnectionError", code: "timeout" });

    const controller = new AbortController();
    const aborted = failureOf(adapter.complete(callOf(dialect, "Hello", { signal: controller.signal })));
    await waitFor("the second request", () => server.requests.length === 2);
    controller.abort("lock lost");
    expect(await aborted).toMatchObject({ name: "AbortError", cause: "lock lost" });
  });

  it("says which code a refused connection ended with, and keeps key and prompt out", async () => {
    const adapter = testAdapter(testEntry(dialect, await deadUrl()));
    const error = await failureOf(adapter.complete(callOf(dialect, "A secret prompt")));
    expect(error).toMatchObject({ name: "APIConnectionError", code: "connection" });
    expect((error as Error).message).toContain("ECONNREFUSED");
    const shown = `${inspect(error, { depth: 10, showHidden: true })} ${JSON.stringify(error)}`;
    expect(shown).not.toContain("secret prompt");
    expect(shown).not.toContain(TEST_KEY);
  });

  it.each([301, 302, 307, 308])("does not follow a redirect (%i)", async (status) => {
    const elsewhere = await wireServer((response) => sendJson(response, good));
    const server = await wireServer((response) =>
      response.writeHead(status, { location: `${elsewhere.url}/v1/chat/completions` }).end(),
    );
    const error = await failureOf(
      testAdapter(testEntry(dialect, server.url)).complete(callOf(dialect, "Hello")),
    );
    expect(error).toMatchObject({ name: "AccountError", code: "redirected", status });
    expect(elsewhere.requests).toEqual([]);
  });

  it("sends the key, our request id, the model and the parameters", async () => {
    const server = await wireServer((response) => sendJson(response, good));
    const request = chat("Hello", { max_tokens: 7, stop: ["END"], user: "u-1" });
    await testAdapter(testEntry(dialect, server.url)).complete(callOf(dialect, request));
    const [sent] = server.requests;
    expect(sent?.path).toBe(dialect === "openai" ? "/v1/chat/completions" : "/v1/messages");
    expect(sent?.headers).toMatchObject({
      authorization: `Bearer ${TEST_KEY}`,
      "x-client-request-id": "11111111-2222-4333-8444-555555555555",
      "content-type": "application/json",
    });
    expect(JSON.parse(sent?.body ?? "")).toMatchObject(
      dialect === "openai"
        ? { ...request, model: MODELS.openai }
        : { model: MODELS.anthropic, max_tokens: 7, stop_sequences: ["END"], metadata: { user_id: "u-1" } },
    );
  });

  it("keeps its sockets: 200 calls at concurrency 20 open at most 20", async () => {
    const server = await wireServer((response) => setImmediate(() => sendJson(response, good)));
    const adapter = testAdapter(testEntry(dialect, server.url), { connections: 20 });
    let next = 0;
    const caller = async () => {
      while (next++ < 200) await adapter.complete(callOf(dialect, "Hello"));
    };
    await Promise.all(Array.from({ length: 20 }, caller));
    expect(server.requests).toHaveLength(200);
    expect(server.sockets).toBeLessThanOrEqual(20);
  });

  it("has 500 calls on the wire at once", async () => {
    const waiting: ServerResponse[] = [];
    const server = await wireServer((response) => {
      waiting.push(response);
      if (waiting.length === 500) for (const held of waiting) sendJson(held, good);
    });
    const adapter = testAdapter(testEntry(dialect, server.url));
    const calls = Array.from({ length: 500 }, () => adapter.complete(callOf(dialect, "Hello")));
    expect(await Promise.all(calls)).toHaveLength(500);
    expect(server.requests).toHaveLength(500);
  });

  it("refuses a missing key and one that no header can carry, by its variable", () => {
    const entry = testEntry(dialect, "http://127.0.0.1:1");
    expect(() => createAdapter({ ...entry, apiKey: undefined })).toThrow(ConfigurationError);
    for (const key of ["sk-with space", "sk-“quoted”", "sk-line\nbreak"]) {
      const make = () => createAdapter({ ...entry, apiKey: new Secret(key) });
      expect(make).toThrow(AuthenticationError);
      expect(make).not.toThrow(key);
    }
  });
});

it("takes nothing from the SDKs' environment variables and writes nothing to the console", async () => {
  const server = await wireServer((response, { path }) =>
    sendJson(response, goodBody(path.includes("messages") ? "anthropic" : "openai")),
  );
  const trap = "http://127.0.0.1:1";
  const script = `
    const { createAdapter } = await import("./src/providers/create-adapter.ts");
    const { Secret } = await import("./src/shared/secret.ts");
    for (const [dialect, model] of [["openai", "gpt-4o-mini"], ["anthropic", "claude-sonnet-4-5"]]) {
      const baseUrl = ${JSON.stringify(server.url)} + (dialect === "openai" ? "/v1" : "");
      const apiKey = new Secret(${JSON.stringify(TEST_KEY)});
      const adapter = createAdapter({ name: dialect, dialect, baseUrl, keyVariable: "K", apiKey });
      const request = { messages: [{ role: "user", content: "Hello" }] };
      const signal = new AbortController().signal;
      await adapter.complete({ model, request, requestId: "r-1", timeoutMs: 5000, idleTimeoutMs: 5000, signal });
      await adapter.close();
    }`;
  const env = {
    OPENAI_API_KEY: "sk-trap",
    OPENAI_ADMIN_KEY: "sk-trap",
    OPENAI_ORG_ID: "org-trap",
    OPENAI_PROJECT_ID: "proj-trap",
    OPENAI_BASE_URL: trap,
    OPENAI_LOG: "debug",
    OPENAI_CUSTOM_HEADERS: "Authorization: Bearer sk-trap\nX-Trap: yes",
    ANTHROPIC_API_KEY: "sk-trap",
    ANTHROPIC_AUTH_TOKEN: "sk-trap",
    ANTHROPIC_BASE_URL: trap,
    ANTHROPIC_LOG: "debug",
    ANTHROPIC_CUSTOM_HEADERS: "Authorization: Bearer sk-trap\nX-Api-Key: sk-trap\nanthropic-beta: trap",
  };
  const args = ["--input-type=module", "-e", script];
  const cwd = join(import.meta.dirname, "../..");
  expect(await runProcess(process.execPath, args, { cwd, env })).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual([
    `Bearer ${TEST_KEY}`,
    `Bearer ${TEST_KEY}`,
  ]);
  expect(JSON.stringify(server.requests)).not.toMatch(/trap/i);
});
