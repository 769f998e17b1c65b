import { readFileSync } from "node:fs";
import { type Simulator, startSimulator } from "../src/simulator/simulator.ts";
import { BenchSite } from "./site.ts";

const DOCUMENTS = 400;
const QUESTIONS = 10;
const ROWS = DOCUMENTS * QUESTIONS;
const CONCURRENCY = 50;
/** With 50 calls at a time of 200 ms, 250 a second: a cache of 1 s is as one of 5 minutes at 50 calls a minute. */
const CALL_MS = 200;
const CACHE_MS = 1000;

const document = (n: number) => `Document ${n}. ${`What it says of its number ${n}. `.repeat(330)}`;

/** Measures which part of the input tokens comes from the provider's prompt cache, by the order in which rows go out. */
export async function prompts(): Promise<void> {
  await using site = await BenchSite.open();
  const simulator = await startSimulator({ latencyMs: CALL_MS, jitterMs: 50, promptCache: CACHE_MS });
  site.env = { SIMULATOR_BASE_URL: `${simulator.url}/v1` };
  const files: Record<string, (n: number) => number> = {
    "document by document": (n) => Math.floor(n / QUESTIONS),
    "documents in turn": (n) => n % DOCUMENTS,
  };
  console.log(
    `\nCached input tokens, ${DOCUMENTS} documents of 2,600 tokens, ${QUESTIONS} questions on each`,
  );
  for (const [name, documentOf] of Object.entries(files)) {
    const input = site.writeRows(`${name}.jsonl`, ROWS, (n) => `${document(documentOf(n))}\nQuestion ${n}?`);
    const inFileOrder = await measured(simulator, () => sendInOrder(simulator, input));
    const batch = () => site.batch(input, `${name}.out.jsonl`, "--concurrency", String(CONCURRENCY)).report;
    const ordered = await measured(simulator, batch);
    console.log(`  ${name.padEnd(22)} in file order ${inFileOrder}   gluellm batch run ${ordered}`);
  }
  await simulator.close();
}

/** Returns the cached share of input tokens, and the time that it took. */
async function measured(simulator: Simulator, send: () => Promise<unknown>): Promise<string> {
  simulator.reset();
  const startedAt = performance.now();
  await send();
  const seconds = (performance.now() - startedAt) / 1000;
  const entries = simulator.journal.entries();
  const sum = (field: "promptTokens" | "cachedTokens") =>
    entries.reduce((all, entry) => all + entry[field], 0);
  const share = (100 * sum("cachedTokens")) / sum("promptTokens");
  return `${share.toFixed(1).padStart(5)} % in ${seconds.toFixed(1)} s`;
}

/** Sends rows as a plain pool of callers does. */
async function sendInOrder(simulator: Simulator, input: string): Promise<void> {
  const rows = readFileSync(input, "utf8").trimEnd().split("\n");
  const caller = async () => {
    for (let row = rows.shift(); row !== undefined; row = rows.shift()) {
      const { prompt } = JSON.parse(row) as { prompt: string };
      const body = JSON.stringify({ model: "bench", messages: [{ role: "user", content: prompt }] });
      const headers = { "content-type": "application/json", authorization: "Bearer plain" };
      await (await fetch(`${simulator.url}/v1/chat/completions`, { method: "POST", headers, body })).text();
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, caller));
}
