import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { mcpTools } from "../../src/index.ts";
import { isObject } from "../../src/shared/json.ts";
import { createLogger } from "../../src/shared/logger.ts";

/* Servers over HTTP whose answer is none: the call ends at once, and says what is wrong. */

const EVENTS = { "content-type": "text/event-stream" };
const NOTE = { jsonrpc: "2.0", method: "x", params: { text: "x".repeat(10_000) } };
const FLOOD = Buffer.from(`data: ${JSON.stringify(NOTE)}\n\n`.repeat(20));

/** Writes without end, as fast as it is read. */
function flood(response: ServerResponse, chunk: Buffer): void {
  if (response.destroyed) return;
  while (response.write(chunk)) {}
  response.once("drain", () => flood(response, chunk));
}

type Answer = (response: ServerResponse, id: number) => void;
const asJson =
  (message: object): Answer =>
  (response, id) =>
    response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ jsonrpc: "2.0", id, ...message }));
const asEvent =
  (message: object): Answer =>
  (response, id) => {
    // Its stream stays open, as that of a server which has more to say.
    response.writeHead(200, EVENTS);
    response.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, ...message })}\n\n`);
  };

async function startServer(answerCall: Answer): Promise<string> {
  const server = createServer(async (request, response) => {
    if (request.method !== "POST") return void response.writeHead(405).end();
    let body = "";
    for await (const chunk of request) body += chunk;
    const { id, method, params } = JSON.parse(body);
    if (id === undefined) return void response.writeHead(202).end();
    const serverInfo = { name: "raw", version: "1" };
    const { protocolVersion } = params ?? {};
    const inputSchema = { type: "object" };
    if (method === "initialize")
      return asJson({ result: { protocolVersion, capabilities: { tools: {} }, serverInfo } })(response, id);
    if (method === "tools/list")
      return asEvent({ result: { tools: [{ name: "ask", inputSchema }] } })(response, id);
    if (method === "tools/call") return answerCall(response, id);
    asJson({ error: { code: -32601, message: "Method not found" } })(response, id);
  });
  // On a busy machine a connection that is used again may just have been closed.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
}

const nothing = { result: null };
const failed = { error: "it failed" };
test.each<[string, Answer, RegExp]>([
  ["JSON without a result", asJson(nothing), /no response of JSON-RPC: its "result" is null/],
  ["an event without a result", asEvent(nothing), /no response of JSON-RPC: its "result" is null/],
  ["an error that is a text", asEvent(failed), /its "error" is "it failed", without a code/],
  ["neither", asEvent({}), /neither "result" nor "error"/],
  ["a flood of events", (response) => flood(response.writeHead(200, EVENTS), FLOOD), /longer than \d+ bytes/],
  [
    "a line without end",
    (response) => flood(response.writeHead(200, EVENTS), Buffer.alloc(65_536, "x")),
    /longer than \d+ bytes/,
  ],
  ["what is right", asEvent({ result: { content: [{ type: "text", text: "well" }] } }), /^well$/],
])("%s", async (_, answer, said) => {
  // So long that this test would fail if the call waited for its end.
  const set = mcpTools({
    name: "raw",
    url: await startServer(answer),
    timeoutMs: 1_000_000,
    protocol: "legacy",
  });
  const logger = createLogger({ level: "silent", json: true });
  const opened = set.open({ logger, dataDir: "/nowhere", version: "1" });
  onTestFinished(() => opened.close());
  const signal = new AbortController().signal;
  const [ask] = opened.toTools(await opened.list(signal));
  const got = await ask?.execute({} as never, { signal, jobId: "job", context: {}, executionId: "1" });
  expect(isObject(got) ? got.message : got).toMatch(said);
});
