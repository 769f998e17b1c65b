/**
 * The peer that a team writes first: one BullMQ queue, one worker, the plain SDK; no results file, no record, no limits.
 * Arguments: input file (of `calls`: how many), output file for the figures, mode "throughput", "latency", or "calls", which
 * are awaited by `waitUntilFinished`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import OpenAI from "openai";
import * as undici from "undici";
import { arrivals, epochMs, LATENCY_JOBS, WARM_UP_JOBS } from "./arrivals.ts";
import { callsAtATime, sumQuestion } from "./calls.ts";

const [input = "", output = "", mode = "throughput"] = process.argv.slice(2);
const path = process.env.GLUELLM_REDIS_URL?.replace("unix://", "") ?? "";
const connection = new Redis({ path, maxRetriesPerRequest: null });
const client = new OpenAI({
  apiKey: "none",
  baseURL: process.env.SIMULATOR_BASE_URL,
  maxRetries: 0,
  fetch: undici.fetch as unknown as typeof fetch,
  fetchOptions: { dispatcher: new undici.Agent({ connections: 256 }) } as object,
});
const name = `bare-${mode}-${process.pid}`;
const queue = new Queue(name, { connection });
let left = 0;
const finished = Promise.withResolvers<void>();
const worker = new Worker(
  name,
  async (job) => {
    const messages = [{ role: "user" as const, content: job.data.prompt }];
    return client.chat.completions.create({ model: "bench", messages, max_tokens: job.data.max_tokens });
  },
  { connection, concurrency: 50 },
);
worker.on("completed", () => --left === 0 && finished.resolve());
await worker.waitUntilReady();

if (mode === "throughput") {
  const startedAt = performance.now();
  const rows = readFileSync(input, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  left = rows.length;
  const options = { removeOnComplete: { count: 1000 } };
  for (let i = 0; i < rows.length; i += 500) {
    await queue.addBulk(rows.slice(i, i + 500).map((data) => ({ name: "completion", data, opts: options })));
  }
  await finished.promise;
  writeFileSync(output, JSON.stringify({ total: rows.length, durationMs: performance.now() - startedAt }));
} else if (mode === "calls") {
  const events = new QueueEvents(name, { connection: connection.duplicate() });
  await events.waitUntilReady();
  const options = { removeOnComplete: { count: 1000 } };
  const call = async (n: number): Promise<string> => {
    const job = await queue.add("completion", { prompt: sumQuestion(n), max_tokens: 16 }, options);
    const answer = await job.waitUntilFinished(events);
    return answer.choices[0].message.content;
  };
  await call(-1);
  const total = Number(input);
  writeFileSync(output, JSON.stringify({ total, durationMs: await callsAtATime(100, total, call) }));
} else {
  const addedAt: number[] = [];
  for (let n = 0; n < WARM_UP_JOBS + LATENCY_JOBS; n++) {
    const before = left;
    left += 1;
    addedAt.push(epochMs());
    await queue.add("completion", { prompt: `bare ${n}`, max_tokens: 16 });
    while (left > before) await delay(1);
  }
  const seen = await arrivals(process.env.SIMULATOR_BASE_URL?.replace("/v1", "") ?? "");
  const latencies = addedAt.map((added, n) => (seen.get(`bare ${n}`) ?? 0) - added);
  writeFileSync(output, JSON.stringify(latencies.slice(WARM_UP_JOBS)));
}
process.exit(0);
