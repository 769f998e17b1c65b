/** What a batch may cost, by a sample of its rows that the run does not pay again. In your project: `from "gluellm"`. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GlueLLM } from "../src/index.ts";

const folder = await mkdtemp(join(tmpdir(), "quote-"));
const [inputPath, outputPath] = [join(folder, "in.jsonl"), join(folder, "out.jsonl")];
const rows = Array.from({ length: 40 }, (_, n) => JSON.stringify({ prompt: `A rhyme for the number ${n}.` }));
await writeFile(inputPath, `${rows.join("\n")}\n`);

await using glue = new GlueLLM();
const quote = await glue.batches.quote({ inputPath, outputPath, sampleRows: 10 });
console.log(`${quote.rows.sampled} of ${quote.rows.total} rows were asked`);
const { costUsd } = quote.lanes.online;
console.error(`all of them cost about ${costUsd?.p50} USD, hardly more than ${costUsd?.p90}`);

const run = await glue.batches.run({ inputPath, outputPath });
const report = await run.report();
console.log(`${report.succeeded} succeeded, compared with the quote: ${report.quote !== undefined}`);
await rm(folder, { recursive: true });
