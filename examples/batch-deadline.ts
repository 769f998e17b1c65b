/** A batch that is done by a time, as cheaply as that allows: in provider batches at half the price. In your project: `from "gluellm"`. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GlueLLM } from "../src/index.ts";

const words = ["sea", "stone", "cloud", "lamp"];
const folder = await mkdtemp(join(tmpdir(), "deadline-"));
const [inputPath, outputPath] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
await writeFile(
  inputPath,
  words.map((word) => `${JSON.stringify({ prompt: `A rhyme for ${word}.` })}\n`).join(""),
);

await using glue = new GlueLLM();
// The same options again go on with it, also when this process was killed: what was bought is not bought again.
const run = await glue.batches.run({ inputPath, outputPath, by: "6h" });
for await (const { missing } of run.follow({ everyMs: 100 })) {
  // Where provider batches stand, and why rows go another way.
  for (const { state, rows, reason } of run.details().lanes)
    console.error(reason ?? `${rows} rows in a provider batch: ${state}, ${missing} to go`);
}
const { succeeded, rowsByLane, savedUsd } = await run.report();
console.log(
  `${succeeded} succeeded, in provider batches: ${rowsByLane?.batch ?? 0}, saved: ${(savedUsd ?? 0) > 0}`,
);
for (const line of (await readFile(outputPath, "utf8")).trimEnd().split("\n")) {
  const { custom_id, lane } = JSON.parse(line);
  console.log(`${custom_id}: ${lane}`);
}
await rm(folder, { recursive: true });
