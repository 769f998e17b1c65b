/** Batch files as vendors write them, in one file, with answers in one vendor's form. In your project: `from "gluellm"`. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GlueLLM } from "../src/index.ts";

const messages = [{ role: "user", content: "A word for the sea." }];
const LINES = [
  // OpenAI's, and those of everybody who has a url of that end: Azure, GLM.
  { custom_id: "chat", method: "POST", url: "/v1/chat/completions", body: { messages } },
  { custom_id: "azure", method: "POST", url: "/chat/completions", body: { messages, temperature: 0 } },
  // Texts, or the ids of their tokens.
  { custom_id: "vectors", method: "POST", url: "/v1/embeddings", body: { input: [[40, 1842, 7], [9]] } },
  // Anthropic's and Gemini's.
  { custom_id: "anthropic", params: { max_tokens: 50, messages } },
  { key: "gemini", request: { contents: [{ parts: [{ text: "A word for the wind." }] }] } },
  // Our own: a prompt is enough.
  { custom_id: "plain", prompt: "A word for a stone." },
];

const folder = await mkdtemp(join(tmpdir(), "forms-"));
const [inputPath, outputPath] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
await writeFile(inputPath, LINES.map((line) => `${JSON.stringify(line)}\n`).join(""));

await using glue = new GlueLLM();
// All of them go to the model of DEFAULT_MODEL, since none names its own.
const run = await glue.batches.run({ inputPath, outputPath, format: "openai" });
const { succeeded, failed, costUsd } = await run.report();
console.log(`${succeeded} succeeded, ${failed} failed, cost ${costUsd ?? "unknown"}`);
for (const line of (await readFile(outputPath, "utf8")).trimEnd().split("\n")) {
  const { custom_id, response } = JSON.parse(line);
  console.log(`${custom_id}: ${response.body.object}`);
}
await rm(folder, { recursive: true });
