import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { readWireOptions, type WireFlags } from "../../src/cli/wire-options.ts";
import { type BatchOptions, defineWorkflow, type WorkflowContext } from "../../src/index.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { errorBody, goodBody } from "../support/provider.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { sendJson, type WireRequest, wireServer } from "../support/wire-server.ts";

const ANY = { input: z.any(), output: z.any() };

/** Entries of each dialect at one server, and one that is called as Google's is. */
async function openSite() {
  const asked: (WireRequest & { json: Record<string, unknown> })[] = [];
  const wire = await wireServer((response, request) => {
    const json = JSON.parse(request.body) as Record<string, unknown>;
    asked.push({ ...request, json });
    if (request.headers["x-fail"]) return sendJson(response, errorBody("openai", { message: "x" }), 400);
    return sendJson(
      response,
      goodBody(request.path.includes("/v1/messages") ? "anthropic" : "openai", "fine"),
    );
  });
  const entry = { baseUrl: `${wire.url}/v1`, keyOptional: true, models: ["*"] };
  const claude = { dialect: "anthropic", baseUrl: wire.url, keyOptional: true, models: ["*"] };
  const site = await TestSite.open(
    {},
    {
      GLUELLM_PROVIDERS: JSON.stringify({ wire: entry, claude }),
      GLUELLM_ALLOWED_MODELS: "google:*",
      GOOGLE_API_KEY: "k",
      GEMINI_API_KEY: "k",
      GOOGLE_BASE_URL: `${wire.url}/google`,
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  return { site, asked };
}

const run = (site: TestSite, ...args: string[]) =>
  site.run("batch", "run", "in.jsonl", "-o", "out.jsonl", ...args);

/** Runs the batch in this process. */
async function reportOf(site: TestSite, options: Omit<BatchOptions, "inputPath" | "outputPath">) {
  const glue = siteClient(site, { mode: "local" });
  const paths = { inputPath: site.path("in.jsonl"), outputPath: site.path("out.jsonl") };
  return (await glue.batches.run({ ...paths, ...options })).report();
}

test("all rows say what the command says to their provider, which is part of what they ask", async () => {
  const { site, asked } = await openSite();
  site.write("in.jsonl", site.rows(2));
  site.write("options.json", [{ wire: { service_tier: "flex" } }]);
  const said = [
    "--provider-options",
    "@options.json",
    "--header",
    "x-team: blue",
    "--query",
    "api-version=1",
  ];
  expect(await run(site, "-m", "wire:m", ...said)).toMatchObject({ code: 0 });
  expect(asked).toHaveLength(2);
  for (const { json, headers, path } of asked) {
    expect(json).toMatchObject({ service_tier: "flex" });
    expect(headers["x-team"]).toBe("blue");
    expect(path).toContain("api-version=1");
  }
  expect((await run(site, "-m", "wire:m", ...said)).stderr).toContain("every row has its result already");
  await expect(reportOf(site, { model: "wire:m" })).rejects.toThrow();
  for (const [flags, text] of [
    [{ header: ["authorization: x"] }, "belongs to the provider entry"],
    [{ header: ["nothing"] }, "NAME:VALUE"],
    [{ providerOptions: "{" }, "is not JSON"],
    [{ providerOptions: "@nowhere.json" }, "cannot be read"],
  ] as const)
    expect(() => readWireOptions(flags as WireFlags)).toThrow(text);
  site.write("in.jsonl", [{ prompt: "x" }, { prompt: "y", model: "claude:m" }]);
  const several = reportOf(site, { model: "wire:m", headers: { a: "b" } });
  await expect(several).rejects.toThrow(/in\.jsonl:2.*go to several: wire, claude/s);
});

test("an Anthropic line that no chat request can say goes out as it is to that dialect, else is refused by its field", async () => {
  const { site, asked } = await openSite();
  const search = { type: "web_search_20250305", name: "web_search", max_uses: 2 };
  const params = {
    model: "m",
    max_tokens: 100,
    top_k: 5,
    thinking: { type: "enabled", budget_tokens: 2048 },
    tools: [search],
    metadata: { user_id: "u" },
    messages: [
      {
        role: "user",
        content: [
          {
            type: "document",
            source: { type: "text", media_type: "text/plain", data: "d" },
            citations: { enabled: true },
          },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "hm", signature: "s" },
          { type: "text", text: "t" },
        ],
      },
      { role: "user", content: "go on 12345678901234567890" },
    ],
  };
  site.write("in.jsonl", [
    { custom_id: "as-it-is", params },
    { custom_id: "plain", params: { model: "m", max_tokens: 1, messages: [{ role: "user", content: "x" }] } },
    { custom_id: "elsewhere", params: { ...params, model: "wire:m" } },
  ]);
  const report = await reportOf(site, { model: "claude:m", format: "anthropic" });
  expect(report).toMatchObject({ status: "completed", succeeded: 2, failed: 1 });
  expect(asked.map(({ json }) => json).find(({ top_k }) => top_k === 5)).toEqual(params);
  const [first, second, third] = site.read("out.jsonl");
  for (const line of [first, second]) expect(line).toMatchObject({ result: { type: "succeeded" } });
  expect(JSON.stringify(third)).toMatch(/in\.jsonl:3: params\.\S+ .*no counterpart/);
  expect(asked).toHaveLength(2);
});

test("a Gemini line's thinking and safety go to Google's servers in their words, topK to nobody", async () => {
  const { site, asked } = await openSite();
  const contents = [{ parts: [{ text: "hello" }] }];
  const safetySettings = [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }];
  const generationConfig = { thinkingConfig: { thinkingBudget: 0, includeThoughts: false } };
  site.write("in.jsonl", [
    { key: "a", request: { contents, safetySettings, generationConfig } },
    { key: "b", request: { model: "wire:m", contents, safetySettings } },
    { key: "c", request: { contents, generationConfig: { topK: 3 } } },
  ]);
  const report = await reportOf(site, { model: "google:gemini-2.5-flash" });
  expect(report).toMatchObject({ status: "completed", succeeded: 1, failed: 2 });
  expect(asked).toHaveLength(1);
  expect(asked[0]?.json.extra_body).toEqual({
    google: {
      thinking_config: { thinking_budget: 0, include_thoughts: false },
      safety_settings: safetySettings,
    },
  });
  const [, b, c] = site.read("out.jsonl");
  expect(JSON.stringify(b)).toContain("in.jsonl:2: request.safetySettings");
  expect(JSON.stringify(c)).toContain("in.jsonl:3: request.generationConfig.topK");
});

test("calls, chats and runs say it too; a client's options hold for its runs and batches", async () => {
  const { site, asked } = await openSite();
  const flags = ["-m", "wire:m", "--provider-options", '{"openai":{"service_tier":"flex"}}'];
  expect(await site.run("complete", "hello", ...flags, "--header", "x-team: red")).toMatchObject({ code: 0 });
  expect(asked.at(-1)?.headers["x-team"]).toBe("red");
  const chat = site.start("chat", ...flags, "--query", "a=b");
  chat.child.stdin?.end("hello\n/quit\n");
  expect(await chat.exit, chat.stderr()).toBe(0);
  expect(asked.at(-1)?.path).toContain("?a=b");
  const child = defineWorkflow({
    name: "said-child",
    ...ANY,
    run: async (ctx: WorkflowContext) => (await ctx.complete("ask", "x")).finalResponse,
  });
  const parent = defineWorkflow({
    name: "said-parent",
    ...ANY,
    run: (ctx: WorkflowContext) => ctx.child("child", child, {}),
  });
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const glue = siteClient(site, {
    ...{ mode: "local", settings, model: "wire:m", workflows: [parent, child] },
    providerOptions: { wire: { service_tier: "flex" } },
  });
  expect(await (await glue.workflows.start(parent, {})).result()).toBe("fine");
  site.write("in.jsonl", site.rows(1));
  const paths = { inputPath: site.path("in.jsonl"), outputPath: site.path("client.jsonl") };
  expect((await (await glue.batches.run(paths)).report()).status).toBe("completed");
  expect(asked.map(({ json }) => json.service_tier)).toEqual(Array(asked.length).fill("flex"));
  expect(asked).toHaveLength(4);
});
