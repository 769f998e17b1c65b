import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, mcpTools } from "../../src/index.ts";
import type { Scope } from "../../src/shared/scopes.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { makeKey, openApi } from "../support/api.ts";
import { calling } from "../support/mcp-site.ts";
import { sizeOf } from "../support/sample.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";

type Mode = "auto" | "legacy";
const ALL = [
  "complete",
  "enqueue",
  "job_status",
  "job_result",
  "cancel",
  "batch_submit",
  "batch_status",
  "run_start",
  "run_status",
  "run_signal",
  "quote",
  "usage",
];

let site: TestSite;
let url: string;
let keyOf: (...scopes: Scope[]) => Promise<string>;
beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_DEFAULT_MODEL: "simulator:test" });
});
afterAll(() => site[Symbol.asyncDispose]());

/** An API of the site, and a worker in this process. */
async function openSite() {
  const settings = loadSettings({ env: site.env, cwd: site.folder });
  const approval = defineWorkflow({
    ...{ name: "approval", input: z.unknown(), output: z.unknown() },
    run: async (ctx) => ctx.waitFor("answer"),
  });
  const worker = openClient(site, { mode: "local", workflows: [approval] });
  onTestFinished(() => worker.close());
  await worker.complete("begin");
  const api = await openApi(settings, { workflows: [approval] });
  url = `${api.url}/mcp`;
  keyOf = async (...scopes) => (await makeKey(api.store, { scopes })).token;
  return { api, worker };
}

async function connect(mode: Mode, token?: string, headers: Record<string, string> = {}): Promise<Client> {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  await client.connect(
    new StreamableHTTPClientTransport(new URL(url), {
      requestInit: { headers: { ...authorization, ...headers } },
    }),
  );
  onTestFinished(() => client.close());
  return client;
}

async function call(client: Client, name: string, args: object = {}) {
  const { content, isError } = await client.callTool({ name, arguments: { ...args } });
  const [first] = content;
  const text = first?.type === "text" ? first.text : "";
  return isError ? { refused: text } : (JSON.parse(text) as Record<string, unknown>);
}

test("the official client, in both eras: jobs, batches, runs, a quote and usage, within the key's scopes", async () => {
  const { worker } = await openSite();
  const eras = [
    ["auto", "2026-07-28"],
    ["legacy", "2025-11-25"],
  ] as const;
  for (const [mode, version] of eras.slice(0, sizeOf(2, 1))) {
    const client = await connect(mode, await keyOf("complete", "batch", "workflow", "read"));
    expect(client.getNegotiatedProtocolVersion()).toBe(version);
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(ALL);
    const answer = await call(client, "complete", {
      message: `Say four.\n#sim {"reply":"four"}`,
      idempotencyKey: `${mode}-four`,
    });
    expect(answer).toMatchObject({ state: "succeeded", finalResponse: "four", model: "simulator:test" });
    expect(
      await call(client, "complete", {
        message: `Say four.\n#sim {"reply":"four"}`,
        idempotencyKey: `${mode}-four`,
      }),
    ).toMatchObject({ id: answer.id });
    const { id } = await call(client, "enqueue", { message: "later", delayMs: 600_000 });
    expect(await call(client, "job_status", { jobId: id })).toMatchObject({ id, state: "delayed" });
    expect(await call(client, "cancel", { id })).toMatchObject({ id, state: "cancelled" });
    expect(await call(client, "job_result", { jobId: id })).toMatchObject({
      state: "cancelled",
      error: { code: "cancelled" },
    });
    const asked = {
      model: "simulator:test",
      requests: [{ prompt: "one" }, { prompt: "two", customId: "b" }],
      idempotencyKey: `${mode}-batch`,
    };
    const batch = await call(client, "batch_submit", asked);
    expect(await call(client, "batch_submit", asked)).toMatchObject({ id: batch.id });
    expect(await call(client, "batch_submit", { ...asked, requests: [{ prompt: "other" }] })).toEqual({
      refused: expect.stringMatching(/^idempotency_conflict/),
    });
    expect(await call(client, "batch_status", { batchId: batch.id })).toMatchObject({
      id: batch.id,
      object: "batch",
    });
    const run = await call(client, "run_start", { workflow: "approval", input: {} });
    await call(client, "run_signal", { runId: run.id, name: "answer", data: { yes: true } });
    expect(await call(client, "run_status", { runId: run.id, waitSeconds: 50 })).toMatchObject({
      state: "succeeded",
      value: { yes: true },
    });
    expect(
      await call(client, "quote", { message: "Hello", model: "openai:gpt-4o-mini", count: 1000 }),
    ).toMatchObject({ answerTokens: 500_000, costUsd: expect.closeTo(0.3, 1) });
    expect(await call(client, "usage")).toMatchObject({ tenant: "default" });
    // What goes wrong is told, and ends nothing.
    expect(await call(client, "job_status", { jobId: "job-00000000-0000-7000-8000-000000000000" })).toEqual({
      refused: expect.stringMatching(/^job_lost: /),
    });
    expect(await call(client, "complete", { message: "x", model: "nobody:none" })).toEqual({
      refused: expect.stringMatching(/nobody/),
    });
  }
  // A reader sees what reads; another tenant's key sees no job of this one.
  const reader = await connect("auto", await keyOf("read"));
  expect((await reader.listTools()).tools.map(({ name }) => name)).toEqual([
    "job_status",
    "run_status",
    "quote",
    "usage",
  ]);
  await expect(connect("auto", "gk_wrong")).rejects.toThrow();
  await expect(connect("auto", await keyOf("read"), { origin: "https://evil.example" })).rejects.toThrow();
  // Our own tools of MCP servers, for a model that gives work to models.
  const set = mcpTools({
    name: "gluellm",
    url,
    headers: { authorization: `Bearer ${await keyOf("complete", "read")}` },
    allow: ["usage", "complete"],
  });
  const prompt = calling(
    "nested",
    ["complete", { message: `inner\n#sim {"reply":"from within"}` }],
    ["usage"],
  );
  const { toolExecutionHistory } = await worker.complete(prompt, { tools: [set] });
  expect(toolExecutionHistory.map(({ result, error }) => error ?? result)).toEqual([
    expect.stringContaining("from within"),
    expect.stringContaining("spentUsd"),
  ]);
});

test("`gluellm mcp` speaks over standard input and output alone, by an API of its own or one elsewhere", async () => {
  const { api } = await openSite();
  const token = (await makeKey(api.store)).token;
  const cli = new URL("../../src/cli/main.ts", import.meta.url).pathname;
  const ways = [
    ["legacy", ["--url", api.url], { GLUELLM_API_KEY: token }],
    ["auto", [], {}],
  ] as const;
  for (const [mode, args, env] of ways.slice(0, sizeOf(2, 1))) {
    const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
    const transport = new StdioClientTransport({
      ...{ command: process.execPath, args: [cli, "mcp", ...args], cwd: site.folder, stderr: "pipe" },
      env: { ...site.env, ...env, TMPDIR: process.env.TMPDIR ?? "/tmp" },
    });
    let said = "";
    transport.stderr?.on("data", (chunk) => {
      said += chunk;
    });
    onTestFinished(() => client.close());
    await client.connect(transport);
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(ALL);
    expect(await call(client, "complete", { message: `hello\n#sim {"reply":"by stdio"}` })).toMatchObject({
      finalResponse: "by stdio",
    });
    expect(said).not.toContain("gk_");
    await client.close();
  }
});
