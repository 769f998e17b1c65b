import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type CompletionResult, mcpTools, type ToolSet } from "../../src/index.ts";
import {
  calling,
  FILE_SERVER,
  noServers,
  rawServer,
  serversOf,
  traceOf,
  writeMcpFile,
} from "../support/mcp-site.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";

const isFull = inject("isFull");

let site: TestSite;
beforeAll(async () => {
  site = await TestSite.open();
});
afterAll(() => site[Symbol.asyncDispose]());

function outcomesOf({ toolExecutionHistory }: CompletionResult) {
  return toolExecutionHistory.map(({ toolName, result, error }) => [toolName, result ?? error?.code]);
}

test("a file-system agent: a worker with the usual file of servers, one of a package, one without any SDK", {
  tags: "long",
}, async () => {
  writeFileSync(site.path("poem.txt"), "Roses are red\n");
  const files = {
    command: process.execPath,
    args: [FILE_SERVER, site.folder],
    allow: ["read_*", "write_file"],
  };
  const path = writeMcpFile(site, {
    files,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the file has it so
    raw: { ...rawServer(site, "environment"), env: { SITE_FOLDER: site.folder, TOKEN: "${MY_TOKEN}" } },
    off: { command: "/no/such", disabled: true },
  });
  const worker = site.startWith(
    { MY_TOKEN: "t", OPENAI_API_KEY: "sk-of-nobody", ANTHROPIC_API_KEY: "sk-of-nobody" },
    ...["worker", "--mcp", path],
  );
  await using glue = openClient(site, { tools: [mcpTools({ name: "files", ...files })] });
  const poem = site.path("poem.txt");
  const prompt = calling(
    "read and write",
    ["read_text_file", { path: poem }],
    ["write_file", { path: site.path("copy.txt"), content: "Violets" }],
    ["read_text_file", { path: "/etc/hostname" }],
    ["list_directory", { path: site.folder }],
  );
  const result = await glue.complete(prompt);
  expect(outcomesOf(result)).toEqual([
    ["read_text_file", "Roses are red\n"],
    ["write_file", expect.stringContaining("copy.txt")],
    ["read_text_file", "tool_failed"],
    ["list_directory", "unknown_tool"],
  ]);
  expect(readFileSync(site.path("copy.txt"), "utf8")).toBe("Violets");
  const [asked] = site.simulator.journal.entries();
  expect(asked?.toolNames.toSorted()).toEqual(
    ["read_file", "read_media_file", "read_multiple_files", "read_text_file", "write_file"].toSorted(),
  );
  const { toolExecutionHistory } = await glue.complete(calling("environment", ["write"]), {
    tools: ["raw"],
  });
  const names = toolExecutionHistory[0]?.result?.split(" ");
  expect(names).toEqual(expect.arrayContaining(["HOME", "PATH", "SITE_FOLDER", "TOKEN"]));
  expect(names?.filter((name) => /GLUELLM|KEY|REDIS|SIMULATOR/.test(name))).toEqual([]);
  worker.child.kill("SIGTERM");
  await worker.exit;
  await noServers(site);
});

/** What becomes of a call of `echo`, which may be repeated, and of `write`. */
const MODES: Record<string, { echo: string; write: string; gate?: true }> = {
  garbage: { echo: "echo: a", write: "write: b", gate: true },
  "dies-of-the-new": { echo: "echo: a", write: "write: b" },
  dies: { echo: "tool_failed", write: "outcome_unknown", gate: true },
  hangs: { echo: "timeout", write: "timeout", gate: true },
  changes: { echo: "echo: a", write: "tool_failed" },
  "null-answer": { echo: "tool_failed", write: "tool_failed" },
  "garbage-answer": { echo: "tool_failed", write: "tool_failed" },
  "endless-line": { echo: "tool_failed", write: "outcome_unknown", gate: true },
  floods: { echo: "tool_failed", write: "outcome_unknown" },
  rich: {
    echo: "a text\n[resource file:///a.txt: a.txt, A file]\n[resource file:///b.txt]\ninside\n[a part of the type image that cannot be read]",
    write: "tool_failed",
    gate: true,
  },
  stubborn: { echo: "echo: a", write: "write: b" },
  grandchildren: { echo: "echo: a", write: "write: b" },
};

test("servers that hang, die, change, flood, or answer garbage: the jobs end well, and no process is left", async () => {
  const modes = Object.keys(MODES).filter((mode) => isFull || MODES[mode]?.gate);
  const timeout = { timeoutMs: 30_000 };
  const sets = modes.map((mode) =>
    mcpTools({ ...rawServer(site, mode), name: mode, ...(mode === "hangs" ? { timeoutMs: 300 } : timeout) }),
  );
  await using glue = openClient(site, { mode: "local" });
  const results = await Promise.all(
    sets.map((set) =>
      glue.complete(calling(`of ${set.name}`, ["echo", { text: "a" }], ["write", { text: "b" }]), {
        tools: [set],
      }),
    ),
  );
  const found = Object.fromEntries(
    modes.map((mode, i) => [mode, outcomesOf(results[i] as CompletionResult)]),
  );
  const expected = modes.map((mode) => [
    mode,
    [
      ["echo", MODES[mode]?.echo],
      ["write", MODES[mode]?.write],
    ],
  ]);
  expect(found).toEqual(Object.fromEntries(expected));
  if (modes.includes("changes"))
    expect(results[modes.indexOf("changes")]?.toolExecutionHistory[1]?.error?.message).toContain(
      "Unknown tool",
    );
  expect(results[modes.indexOf("rich")]?.toolExecutionHistory[0]?.parts).toEqual([
    { type: "image_url", image_url: { url: "data:image/png;base64,aGk=" } },
    { type: "file", file: { file_data: "data:application/pdf;base64,aGk=", filename: "c.pdf" } },
  ]);
  // The one that died was started again for each call: the idempotent one twice.
  expect(traceOf(site, "dies").filter((line) => line.startsWith("call"))).toEqual([
    "call echo a",
    "call echo a",
    "call write b",
  ]);
  expect(serversOf(site).length).toBeGreaterThan(0);
  await glue.close();
  expect(serversOf(site)).toEqual([]);
});

test("a server that does not start, or says nothing, is one clear error; so are two tools of one name", {
  tags: "long",
}, async () => {
  await using glue = openClient(site, { mode: "local" });
  const complete = (...names: [name: string, options: object][]) =>
    glue.complete("never asked", {
      tools: names.map(([name, options]) => mcpTools({ name, ...options })),
      maxAttempts: 2,
    });
  const cases = [
    complete(["absent", { command: "/no/such/server" }]),
    complete(["fails", rawServer(site, "fails")]),
    complete(["silent", { ...rawServer(site, "silent"), startTimeoutMs: 300 }]),
    complete(["nobody", { url: "http://127.0.0.1:9/mcp" }]),
    complete(["one", rawServer(site, "well")], ["two", rawServer(site, "well")]),
    complete(["none", { ...rawServer(site, "well"), allow: ["no_such_*"] }]),
  ];
  const messages = await Promise.all(
    cases.map((one) =>
      one.then(
        () => "an answer",
        ({ code, message }) => `${code}: ${message}`,
      ),
    ),
  );
  expect(messages).toEqual([
    'tool_server_unavailable: the MCP server "absent" cannot be started: spawn /no/such/server ENOENT',
    'tool_server_unavailable: the MCP server "fails" cannot be started: it ended before it began to talk; its last words: no such folder: /nowhere',
    'tool_server_unavailable: the MCP server "silent" cannot be started: it did not begin to talk within 0.3 s',
    expect.stringMatching(
      /^tool_server_unavailable: the MCP server "nobody" cannot be reached at http:\/\/127.0.0.1:9: /,
    ),
    'duplicate_tool: the job has two tools called "echo": one of "one" and one of "two"',
    'invalid_input: the MCP server "none" has none of the tools no_such_*',
  ]);
  expect(() => mcpTools({ name: "both", command: "a", url: "https://example.com" })).toThrow(
    /either a command or a url/,
  );
  expect(site.simulator.journal.entries().some(({ lastUserText }) => lastUserText === "never asked")).toBe(
    false,
  );
  await using prefixed = openClient(site, { mode: "local" });
  const [one, two] = ["left", "right"].map((name) =>
    mcpTools({ ...rawServer(site, "well"), name, prefix: `${name}_` }),
  );
  const both = await prefixed.complete(
    calling("both", ["left_echo", { text: "1" }], ["right_echo", { text: "2" }]),
    { tools: [one as ToolSet, two as ToolSet] },
  );
  expect(outcomesOf(both)).toEqual([
    ["left_echo", "echo: 1"],
    ["right_echo", "echo: 2"],
  ]);
});
