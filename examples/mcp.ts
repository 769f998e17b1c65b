/**
 * A file-system agent: the tools of an MCP server, for jobs that survive their workers. In your project: `from "gluellm"`, and
 * `npm install @modelcontextprotocol/client@2`.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Agent, AgentExecutor, GlueLLM, mcpTools } from "../src/index.ts";

const folder = await mkdtemp(join(tmpdir(), "gluellm-files-"));
await writeFile(join(folder, "orders.csv"), "article,count\napples,12\npears,3\n");

// In your project: `command: "npx", args: ["-y", "@modelcontextprotocol/server-filesystem", folder]`.
const server = import.meta.resolve("@modelcontextprotocol/server-filesystem/dist/index.js");
const files = mcpTools({
  name: "files",
  command: process.execPath,
  args: [fileURLToPath(server), folder],
  // The model sees these alone.
  allow: ["read_text_file", "write_file", "list_directory"],
});

const clerk = new Agent({
  name: "file_clerk",
  description: "Reads and writes files.",
  systemPrompt: "Read what you are asked about. Write reports into the folder.",
  tools: [files],
});
await using glue = new GlueLLM();

// The simulator has no mind of its own: its `#sim` line says what it calls. A real model decides by itself.
const call = (name: string, args: object) => ({ toolCalls: [{ name, arguments: args }] });
const turns = [
  call("list_directory", { path: folder }),
  call("read_text_file", { path: join(folder, "orders.csv") }),
  call("write_file", { path: join(folder, "report.txt"), content: "15 pieces of fruit" }),
  call("read_text_file", { path: "/etc/passwd" }),
  { reply: "There are 15 pieces of fruit; the report is written." },
];
const executor = new AgentExecutor(glue, clerk);
const result = await executor.execute(`How much fruit?\n#sim ${JSON.stringify({ turns })}`);
for (const { toolName, result: output, error } of result.toolExecutionHistory) {
  const told = error ? `${error.code}` : (output ?? "").split("\n")[0]?.replaceAll(folder, "…");
  console.log(`${toolName}: ${told}`);
}
console.log(`answer: ${result.finalResponse}`);
console.log(`report: ${await readFile(join(folder, "report.txt"), "utf8")}`);
await rm(folder, { recursive: true });
