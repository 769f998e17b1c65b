import { randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import express from "express";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { mcpTools } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";

/** The official server of the older protocol, over HTTP and with sessions, which `forget` ends as a restart does. */
async function startServer() {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const headers: unknown[] = [];
  let calls = 0;
  let broken = false;
  const open = async () => {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport),
    });
    const server = new McpServer({ name: "old", version: "1" });
    server.registerTool("add", { inputSchema: { a: z.number() } }, ({ a }) => {
      calls += 1;
      return { content: [{ type: "text", text: String(a + calls) }] };
    });
    await server.connect(transport as never);
    return transport;
  };
  const app = express().use(express.json());
  app.all("/mcp", async (request, response) => {
    headers.push(request.headers.authorization);
    if (broken) return void response.status(503).end();
    const id = request.headers["mcp-session-id"];
    const known = sessions.get(String(id));
    if (!known && (id || request.body?.method !== "initialize"))
      return void response.status(id ? 404 : 400).end();
    await (known ?? (await open())).handleRequest(request, response, request.body);
  });
  const server = app.listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    headers,
    forget: () => sessions.clear(),
    breakDown: () => {
      broken = true;
    },
    callCount: () => calls,
  };
}

test("an old server over HTTP: a forgotten session is begun anew and the call made once; what is broken is told", async () => {
  const server = await startServer();
  const logger = createLogger({ level: "silent", json: true });
  const set = mcpTools({ name: "old", url: server.url, headers: { Authorization: "Bearer of-the-server" } });
  const opened = set.open({ logger, dataDir: "/nowhere", version: "1" });
  onTestFinished(() => opened.close());
  const signal = new AbortController().signal;
  const [add] = opened.toTools(await opened.list(signal));
  const call = () =>
    add?.execute({ a: 10 } as never, { signal, jobId: "job", context: {}, executionId: "1" });
  expect(add).toMatchObject({ name: "add", idempotent: false });
  expect(await call()).toBe("11");
  server.forget();
  expect(await call()).toBe("12");
  server.forget();
  expect(await opened.list(signal)).toHaveLength(1);
  expect(await call()).toBe("13");
  expect(server.callCount()).toBe(3);
  server.breakDown();
  expect(await call()).toMatchObject({ type: "error", code: "outcome_unknown" });
  await expect(opened.list(signal)).rejects.toMatchObject({ code: "tool_server_unavailable" });
  expect(new Set(server.headers)).toEqual(new Set(["Bearer of-the-server"]));
});
