import { randomBytes, randomUUID } from "node:crypto";
import OpenAI, { toFile } from "openai";
import { expect, test } from "vitest";
import { around, bytesBelow } from "../support/bytes-below.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { redisAt, startRedisServer } from "../support/redis-server.ts";
import { serveApi, startServer } from "../support/served-api.ts";
import { MODEL, SHORT_LOCKS } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";

const ROWS = 60;

test("with encryption on no word of files, batches and calls of the API lies anywhere, while they are at work and after", async () => {
  const server = await startRedisServer({ appendonly: "yes", rdbcompression: "no" });
  const url = `redis://127.0.0.1:${server.port}`;
  const [data, logs] = [temporaryFolder(), temporaryFolder()];
  const env = {
    ...SHORT_LOCKS,
    GLUELLM_REDIS_URL: url,
    GLUELLM_ENCRYPTION_KEYS: `one:${randomBytes(32).toString("base64")}`,
    GLUELLM_DATA_DIR: data,
    GLUELLM_LOG_DIR: logs,
    GLUELLM_LOG_FILE_LEVEL: "debug",
    GLUELLM_HISTORY: "true",
    GLUELLM_HISTORY_CONTENT: "full",
    GLUELLM_WORKER_CONCURRENCY: "4",
  };
  const { site: opened, baseURL, apiKey, process: api } = await serveApi({ latencyMs: 60 }, env, false);
  await using site = opened;
  const word = `canary${randomUUID().replaceAll("-", "")}`;
  const says = (about: string) =>
    `${word} ${about}\n#sim ${JSON.stringify({ reply: `${word} answers ${about}` })}`;
  const search = async (moment: string) => {
    await redisAt(url).save();
    for (const [place, folder] of Object.entries({ redis: server.folder, data, logs })) {
      const bytes = bytesBelow(folder);
      expect([moment, place, around(word, bytes)]).toEqual([moment, place, "nothing"]);
      expect(bytes.length).toBeGreaterThan(1000);
    }
  };

  const openai = new OpenAI({ baseURL, apiKey });
  const [first] = [site.start("worker")];
  const refused = `${word} is refused\n#sim {"unknown": 1}`;
  const questions = Array.from({ length: ROWS }, (_, n) => (n === 3 ? refused : says(`of row ${n}`)));
  const { id } = await submitBatch(openai, questions);
  await waitFor("a third of its answers", () => site.paidCalls().size > ROWS / 3);
  for (const { child, exit } of [api, first]) {
    child.kill("SIGKILL");
    await exit;
  }
  await search("in the midst of a batch");

  site.start("worker");
  const next = await startServer(site);
  const other = new OpenAI({ baseURL: next.baseURL, apiKey: next.apiKey });
  const ended = async (batchId: string) => {
    await waitFor(`the end of ${batchId}`, async () =>
      ["completed", "failed"].includes((await other.batches.retrieve(batchId)).status),
    );
    return other.batches.retrieve(batchId);
  };
  const batch = await ended(id);
  expect(batch.request_counts).toEqual({ total: ROWS, completed: ROWS - 1, failed: 1 });
  const textOf = async (file: string | undefined) => (await other.files.content(file ?? "")).text();
  expect((await textOf(batch.output_file_id)).split(`${word} answers`)).toHaveLength(ROWS);
  expect(await textOf(batch.error_file_id)).toContain("row-3");
  const faulty = await toFile(Buffer.from(`{"custom_id":"a","method":"${word}"}\n`), `${word}.jsonl`);
  const input = await other.files.create({ file: faulty, purpose: "batch" });
  expect(input.filename).toBe(`${word}.jsonl`);
  const wrong = await other.batches.create({
    ...{ input_file_id: input.id, endpoint: "/v1/chat/completions", completion_window: "24h" },
    metadata: { about: word },
  });
  expect(await ended(wrong.id)).toMatchObject({ status: "failed", metadata: { about: word } });
  const chat = { model: MODEL, messages: [{ role: "user" as const, content: says("a call") }] };
  const plain = await other.chat.completions.create(chat);
  expect(plain.choices[0]?.message.content).toBe(`${word} answers a call`);
  let streamed = "";
  for await (const { choices } of await other.chat.completions.create({ ...chat, stream: true }))
    streamed += choices[0]?.delta.content ?? "";
  expect(streamed).toBe(`${word} answers a call`);
  const response = await other.responses.create({ model: MODEL, input: says("a response") });
  expect((await other.responses.retrieve(response.id)).output_text).toContain(`${word} answers`);
  await search("after all of it");
  // What was in flight at the kill.
  expect(site.repeatedCalls()).toBeLessThanOrEqual(4 + 2);
});
