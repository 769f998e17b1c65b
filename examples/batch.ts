/** Many calls: as jobs with handles, and as a file of requests. In your project: `from "gluellm"`. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { GlueLLM } from "../src/index.ts";

const words = ["sea", "stone", "cloud", "lamp"];

async function withHandles(): Promise<void> {
  await using glue = new GlueLLM({ system: "You are a poet." });
  // Safe in Redis when this resolves. Who is killed and comes again gets the same jobs by their keys, paid once.
  const ask = (word: string) =>
    glue.enqueue(`A rhyme for ${word}.`, { idempotencyKey: `rhyme-${word}`, priority: 10, maxTokens: 60 });
  const handles = await Promise.all(words.map(ask));
  // The ids are all that is to be kept: any process can ask for the results, for 7 days.
  const results = await Promise.allSettled(handles.map(({ id }) => glue.handle(id).result()));
  for (const [i, result] of results.entries()) {
    console.log(
      `${words[i]}: ${result.status === "fulfilled" ? result.value.finishReason : result.reason.code}`,
    );
  }
}

// For thousands of rows there is the command, in a project `npx gluellm batch run`: it holds a bounded number of them in
// Redis, limits what they cost, and goes on where it was when it is killed and run again.
async function withFile(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "poems-"));
  const [input, output] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
  const rows = words.map((word) => ({ custom_id: word, prompt: `A poem on ${word}.`, max_tokens: 60 }));
  await writeFile(input, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const gluellm = join(import.meta.dirname, "../bin/gluellm.js");
  // Exit code 0: all rows fine. 1: some failed, see OUT.errors.jsonl. Others: nothing more was sent.
  await promisify(execFile)(process.execPath, [gluellm, "batch", "run", input, "-o", output]);
  // In the order of the input, as OpenAI's batches write them.
  for (const line of (await readFile(output, "utf8")).trimEnd().split("\n")) {
    const { custom_id, response } = JSON.parse(line);
    console.log(`${custom_id}: status ${response.status_code}, ${response.body.choices[0].finish_reason}`);
  }
  await rm(folder, { recursive: true });
}

await withHandles();
await withFile();
