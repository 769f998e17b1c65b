/** Answers from your own documents, found by full-text search, with checked sources. In your project: `from "gluellm"`. */
import { DatabaseSync } from "node:sqlite";
import { defineRetriever, GlueLLM, rag } from "../src/index.ts";
import { sectionsOfDocs } from "./parts/documents.ts";

// SQLite's full-text index, in memory: words by their stems, so that "killed" finds "kill".
const database = new DatabaseSync(":memory:");
database.exec("CREATE VIRTUAL TABLE section USING fts5(source, content, tokenize = 'porter unicode61')");
const insert = database.prepare("INSERT INTO section VALUES (?, ?)");
for (const { source, content } of sectionsOfDocs()) insert.run(source, content);

// Sections that have any of the words, the best first: rare words count more, long sections less (BM25).
const search = database.prepare(
  "SELECT source, content FROM section WHERE section MATCH ? ORDER BY bm25(section) LIMIT ?",
);
const docs = defineRetriever("docs", ({ query, maxChunks }) => {
  const words = query.match(/[\p{L}\p{N}]+/gu) ?? [];
  const anyOf = words.map((word) => `"${word}"`).join(" OR ");
  return search.all(anyOf, maxChunks) as { source: string; content: string }[];
});

// In a fleet: `gluellm worker --module docs.ts`, with the retriever as an export. Runs wait for a worker that has it.
await using glue = new GlueLLM({ functions: [docs] });

const run = await glue.workflows.start(rag, {
  input: "How does a run recover when its worker is killed?",
  retriever: "docs",
  generator: { systemPrompt: "You answer questions about this library, briefly." },
  maxRetrievedChunks: 3,
});
const { finalOutput, metadata } = await run.result();
console.log(`found: ${(metadata.retrievedSources as string[]).join("; ")}`);
console.log(finalOutput);

// Each source had to be quoted, and the quote was looked for in what was found. Then the facts were checked.
const { citations, rejectedCitations } = metadata as Record<string, { quote: string }[]>;
for (const { quote } of citations ?? []) console.log(`quoted: ${quote}`);
console.log(`made up: ${rejectedCitations?.length} quotes; facts: ${metadata.stopReason}`);

const nothing = await glue.workflows.start(rag, {
  input: "Zyzzyva?",
  retriever: "docs",
  generator: {},
  onNoContext: "decline",
});
console.log((await nothing.result()).finalOutput);
