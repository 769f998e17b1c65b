/** Map-reduce: one result from a text that is longer than a model reads well. In your project: `from "gluellm"`. */
import { GlueLLM, mapReduce } from "../src/index.ts";
import { readDocument } from "./parts/documents.ts";

const FILE = "limits.md";
const document = readDocument(FILE);

await using glue = new GlueLLM();

const run = await glue.workflows.start(mapReduce, {
  input: document,
  // Agents can be plain words: without a name or model of their own.
  mapper: {
    systemPrompt: "List what the part promises to an operator, one promise per line. No other words.",
  },
  reducer: { systemPrompt: "Merge the lists. Keep every promise once, in the order of the text." },
  chunkSize: 3000,
  // What stands at a cut is read twice, and not lost.
  chunkOverlap: 200,
  maxParallelChunks: 4,
  // Groups of results as long as a chunk are merged, then the results of that, until one is left.
  reduceStrategy: "hierarchical",
  // A part that cannot be read costs that part only.
  onAgentError: "skip",
});
const { finalOutput, agentInteractions, metadata } = await run.result();

const read = agentInteractions.filter(({ stage }) => stage.startsWith("map"));
const { chunks, skippedChunks, levels, reductions } = metadata as {
  chunks: number;
  skippedChunks: number[];
  levels: number;
  reductions: number;
};
console.log(`${FILE}, ${document.length} characters: ${chunks} chunks, ${skippedChunks.length} skipped`);
console.log(`${read.length} lists merged in ${levels} levels by ${reductions} calls`);
const headings = document.match(/^## .*$/gm) ?? [];
const seen = headings.filter((heading) => read.some(({ input }) => input.includes(heading)));
console.log(`${seen.length} of ${headings.length} headings were read`);
console.log(finalOutput);
