import { existsSync } from "node:fs";
import { join } from "node:path";
import OpenAI from "openai";
import { expect, inject, test } from "vitest";
import { readLease } from "../../src/store/batch-lease.ts";
import { runCli } from "../support/cli.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { s3Env, startS3Server } from "../support/s3-server.ts";
import { serveApi, startServer } from "../support/served-api.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";

const CONCURRENCY = 8;
const ROWS = 150;

test("a batch over a bucket: its host is killed, one that shares no folder with it goes on; each line is answered once, in order", async () => {
  const server = await startS3Server();
  server.faults.push({ method: "PUT", path: /work/, times: 1, status: 503 });
  const env = { ...SHORT_LOCKS, ...s3Env(server), GLUELLM_WORKER_CONCURRENCY: String(CONCURRENCY) };
  const { site: opened, baseURL, apiKey, process: first } = await serveApi({ latencyMs: 60 }, env, false);
  await using site = opened;
  const openai = new OpenAI({ baseURL, apiKey });
  const questions = Array.from({ length: ROWS }, (_, n) => (n === 7 ? 'no\n#sim {"unknown": 1}' : `q ${n}`));
  const { id } = await submitBatch(openai, questions);
  const store = testStore(site.namespace);
  await waitFor("a host", () => readLease(store, id));
  // A worker hosts batches too, with a data folder of its own, as on another machine.
  const folder = temporaryFolder();
  const second = site.startWith({ GLUELLM_DATA_DIR: folder }, "worker");
  await waitFor("30 answers", () => site.paidCalls().size > 30);
  expect((await readLease(store, id))?.pid).toBe(first.child.pid);
  first.child.kill("SIGKILL");
  await waitFor("another host", async () => (await readLease(store, id))?.pid === second.child.pid);
  await waitFor("its folder", () => existsSync(join(folder, "batches", site.namespace, id)));
  const next = await startServer(site);
  const other = new OpenAI({ baseURL: next.baseURL, apiKey: next.apiKey });
  await waitFor("the end", async () => (await other.batches.retrieve(id)).status === "completed");
  const batch = await other.batches.retrieve(id);
  expect(batch.request_counts).toEqual({ total: ROWS, completed: ROWS - 1, failed: 1 });
  const output = await (await other.files.content(batch.output_file_id ?? "")).text();
  const wanted = questions.map((_, n) => `row-${n}`).filter((name) => name !== "row-7");
  expect(
    output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).custom_id),
  ).toEqual(wanted);
  const range = await other.files.content(batch.error_file_id ?? "", { headers: { range: "bytes=0-3" } });
  expect([range.status, await range.text()]).toEqual([206, '{"id']);
  expect(site.paidCalls().size).toBe(ROWS - 1);
  // The refused row, and what was in flight.
  expect(site.repeatedCalls()).toBeLessThanOrEqual(CONCURRENCY);
  // The host tidies up after the end.
  await waitFor("no work is left", () => ![...server.objects.keys()].some((key) => key.includes("/work/")));
  expect(server.objects.size).toBe(3);
  expect(existsSync(join(folder, "files")), "no file is in a data folder").toBe(false);
  await waitFor("nor its folder", () => !existsSync(join(folder, "batches", site.namespace, id)));
});

test("without AWS's SDK a process says at its start what to install", async () => {
  const hook = `
    import { registerHooks } from "node:module";
    registerHooks({ resolve(name, context, next) {
      if (name === "@aws-sdk/client-s3") throw Object.assign(new Error("none"), { code: "ERR_MODULE_NOT_FOUND" });
      return next(name, context);
    } });`;
  const env = {
    GLUELLM_REDIS_URL: `unix://${inject("redisSocket")}`,
    GLUELLM_NAMESPACE: testNamespace(),
    GLUELLM_FILE_STORE: "s3://bucket",
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}`,
  };
  const { code, stderr } = await runCli(["worker"], env, temporaryFolder());
  expect([code, stderr]).toEqual([3, expect.stringContaining("npm install @aws-sdk/client-s3")]);
});
