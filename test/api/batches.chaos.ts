import OpenAI from "openai";
import { expect, test } from "vitest";
import { startRedisServer } from "../support/redis-server.ts";
import { serveApi, startServer } from "../support/served-api.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";

const ROWS = 5000;
const questions = Array.from({ length: ROWS }, (_, n) => `question ${n}`);
const CONCURRENCY = 30;
const LATENCY_MS = 100;
/** Calls in flight of the worker, and of Redis one second of records that the append-only file may lose. */
const MAX_REPEATS = 2 * CONCURRENCY + (CONCURRENCY * 1000) / LATENCY_MS;

test("5,000 lines; API, worker and Redis killed in turn: each line is answered once, in order", async () => {
  const redis = { appendonly: "yes", appendfsync: "everysec" };
  const server = await startRedisServer(redis);
  const env = {
    ...SHORT_LOCKS,
    GLUELLM_REDIS_URL: `redis://127.0.0.1:${server.port}`,
    GLUELLM_WORKER_CONCURRENCY: String(CONCURRENCY),
  };
  const { baseURL, apiKey, process: api, ...served } = await serveApi({ latencyMs: LATENCY_MS }, env, false);
  await using site = served.site;
  const worker = site.start("worker");
  const openai = new OpenAI({ baseURL, apiKey });
  const { id } = await submitBatch(openai, questions);

  await waitFor("1,000 answers", () => site.paidCalls().size > 1000);
  api.child.kill("SIGKILL");
  await api.exit;
  const next = await startServer(site);
  const other = new OpenAI({ baseURL: next.baseURL, apiKey: next.apiKey });
  await waitFor("2,000 answers", () => site.paidCalls().size > 2000);
  worker.child.kill("SIGKILL");
  await worker.exit;
  site.start("worker");
  await waitFor("3,000 answers", () => site.paidCalls().size > 3000);
  server.child.kill("SIGKILL");
  await startRedisServer({ ...redis, port: String(server.port), dir: server.folder });

  await waitFor("the end", async () => {
    const batch = await other.batches.retrieve(id).catch(() => undefined);
    return batch?.status === "completed";
  });
  const batch = await other.batches.retrieve(id);
  expect(batch.request_counts).toEqual({ total: ROWS, completed: ROWS, failed: 0 });
  const output = await (await other.files.content(batch.output_file_id ?? "")).text();
  const ids = output
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).custom_id);
  expect(ids).toEqual(questions.map((_, n) => `row-${n}`));
  expect(site.paidCalls().size).toBe(ROWS);
  expect(site.repeatedCalls()).toBeLessThanOrEqual(MAX_REPEATS);
});
