import { spawn } from "node:child_process";
import { appendFileSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

/*
 * An MCP server of the older protocol without any SDK, which behaves as its first argument says; the second one is a file that gets a
 * line for each start and each call.
 */

const [, , mode = "well", trace] = process.argv;
const note = (line: string) => trace && appendFileSync(trace, `${line}\n`);
note(`start ${process.pid}`);
const send = (message: object) => process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const text = (value: string) => ({ content: [{ type: "text", text: value }] });
const inputSchema = { type: "object", properties: { text: { type: "string" } } };
const tool = (name: string, annotations = {}) => ({ name, description: name, inputSchema, annotations });
/** A result of all kinds of parts. */
const RICH = [
  { type: "text", text: "a text" },
  { type: "image", data: "aGk=", mimeType: "image/png" },
  { type: "resource_link", uri: "file:///a.txt", name: "a.txt", description: "A file" },
  { type: "resource", resource: { uri: "file:///b.txt", mimeType: "text/plain", text: "inside" } },
  { type: "resource", resource: { uri: "file:///c.pdf", mimeType: "application/pdf", blob: "aGk=" } },
  { type: "image", data: "aGk=", mimeType: "no type" },
];
let calls = 0;

function tools(): object[] {
  const known = [tool("echo", { readOnlyHint: true }), tool("write")];
  return (mode === "changes" && calls > 0) || isRenamed() ? [tool("other")] : known;
}

/** Writes without end, as fast as it is read. */
function flood(chunk: string): void {
  while (process.stdout.write(chunk)) {}
  process.stdout.once("drain", () => flood(chunk));
}

function answerTo(name: string, said = ""): object | undefined {
  calls += 1;
  note(`call ${name} ${said}`);
  if (mode === "dies") process.exit(1);
  // Of all processes of this server, the first call hangs.
  if (mode === "hangs" || (mode === "hangs-once" && isFirst("call"))) return undefined;
  if (mode === "hangs-at-first-write" && name === "write" && isFirst("call write")) return undefined;
  if (mode === "floods")
    flood(`${JSON.stringify({ jsonrpc: "2.0", method: "notifications/message", params: {} })}\n`);
  if (mode === "endless-line") flood("x".repeat(65_536));
  if (mode === "floods" || mode === "endless-line") return undefined;
  if (mode === "null-answer") return { result: null };
  if (mode === "garbage-answer") return { result: { content: "none", isError: 7 } };
  if (mode === "changes" && calls > 1) return { error: { code: -32602, message: `Unknown tool: ${name}` } };
  if (isRenamed()) return { error: { code: -32602, message: `Unknown tool: ${name}` } };
  if (mode === "rich")
    return { result: name === "echo" ? { content: RICH } : { ...text("it did not work"), isError: true } };
  if (mode === "environment") return { result: text(Object.keys(process.env).sort().join(" ")) };
  return { result: text(`${name}: ${said}`) };
}

/** Whether the server has other tools than when it was first started. */
function isRenamed(): boolean {
  return mode === "renamed-later" && !isFirst("start");
}

/** Whether this is the first of such lines, of all processes of the server. */
function isFirst(head: string): boolean {
  const lines = readFileSync(trace as string, "utf8").split("\n");
  return lines.filter((line) => line.startsWith(head)).length === 1;
}

function answer(
  method: string,
  params: { protocolVersion?: string; name?: string; arguments?: { text?: string } },
) {
  if (mode === "silent") return undefined;
  if (mode === "first-flood") flood("not a message\n");
  if (mode === "first-flood") return undefined;
  if (method === "server/discover" && mode === "dies-of-the-new") process.exit(1);
  const { protocolVersion } = params;
  const serverInfo = { name: "raw", version: "1" };
  if (method === "initialize")
    return { result: { protocolVersion, capabilities: { tools: {} }, serverInfo } };
  if (method === "tools/list") {
    note("list");
    const isHanging = mode === "hangs-at-list" || (mode === "hangs-at-first-list" && isFirst("list"));
    return isHanging ? undefined : { result: { tools: tools() } };
  }
  if (method === "tools/call") return answerTo(String(params.name), params.arguments?.text);
  if (method === "ping") return mode === "hangs" ? undefined : { result: {} };
  return { error: { code: -32601, message: "Method not found" } };
}

if (mode === "grandchildren") {
  for (const detached of [false, false])
    spawn(
      process.execPath,
      ["-e", "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)", "grandchild"],
      { detached, stdio: "ignore" },
    );
}
if (mode === "fails") {
  process.stderr.write("no such folder: /nowhere\n");
  process.exit(3);
}
if (mode === "garbage") process.stdout.write("Welcome!\n{broken\n\n[]\n42\nnull\n");
if (mode === "stubborn") {
  process.on("SIGTERM", () => {});
  setInterval(() => {}, 1000);
}
createInterface(process.stdin).on("line", (line) => {
  const { id, method, params } = JSON.parse(line);
  const answered = id === undefined ? undefined : answer(method, params ?? {});
  if (answered) send({ id, ...answered });
});
