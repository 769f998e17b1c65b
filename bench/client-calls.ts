/**
 * `glue.complete`, 100 calls at a time, by a client that enqueues and works in one process, or in mode `fleet` only enqueues.
 * Arguments: how many calls, output file for the figures, the mode (default `local`).
 */
import { writeFileSync } from "node:fs";
import { GlueLLM } from "../src/index.ts";
import { callsAtATime, cpuSince, sumQuestion } from "./calls.ts";

const [count = "", output = "", mode = "local"] = process.argv.slice(2);
const glue = new GlueLLM({ model: "simulator:bench", mode: mode === "fleet" ? mode : "local" });
await glue.complete("warm up", { maxTokens: 16 });
const cpuMs = cpuSince();
const durationMs = await callsAtATime(100, Number(count), async (n) => {
  const { finalResponse } = await glue.complete(sumQuestion(n), { maxTokens: 16 });
  return finalResponse;
});
writeFileSync(output, JSON.stringify({ total: Number(count), durationMs, cpuMs: cpuMs() }));
await glue.close();
