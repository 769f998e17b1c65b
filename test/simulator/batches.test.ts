import Anthropic from "@anthropic-ai/sdk";
import OpenAI, { toFile } from "openai";
import { expect, onTestFinished, test } from "vitest";
import { durationOf } from "../../src/simulator/batches/plan.ts";
import { type SimulatorOptions, startSimulator } from "../../src/simulator/simulator.ts";
import { waitFor } from "../support/wait-for.ts";

/* The batches of both vendors, flex and the cache of prompts, by the official clients. */

const MINUTE_MS = 60_000;

async function provider(options: SimulatorOptions = {}) {
  const simulator = await startSimulator({ latencyMs: 0, jitterMs: 0, batchSpeed: 1000, ...options });
  onTestFinished(() => simulator.close());
  simulator.setBatches({ durationMs: MINUTE_MS });
  const openai = new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: "k", maxRetries: 0 });
  const anthropic = new Anthropic({ baseURL: simulator.url, apiKey: "k", maxRetries: 0 });
  return { simulator, openai, anthropic };
}

const line = (id: string, content = "hello") => ({
  custom_id: id,
  method: "POST",
  url: "/v1/chat/completions",
  body: { model: "gpt", messages: [{ role: "user", content }] },
});

async function submit(openai: OpenAI, lines: readonly object[], metadata = {}) {
  const text = lines.map((one) => JSON.stringify(one)).join("\n");
  const file = await openai.files.create({
    file: await toFile(Buffer.from(text), "in.jsonl"),
    purpose: "batch",
  });
  return openai.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
    metadata,
  });
}

async function ended(openai: OpenAI, id: string): Promise<OpenAI.Batch> {
  let batch: OpenAI.Batch | undefined;
  await waitFor("the end of the batch", async () => {
    batch = await openai.batches.retrieve(id);
    return /^(completed|failed|expired|cancelled)$/.test(batch.status);
  });
  return batch!;
}

async function rows(openai: OpenAI, fileId: string | null | undefined) {
  if (!fileId) return [];
  const text = await (await openai.files.content(fileId)).text();
  return text
    .trimEnd()
    .split("\n")
    .map((one) => JSON.parse(one));
}

const ERROR = 'now\n#sim {"error": "500"}';

test("OpenAI: a batch is made, begins, ends, and has its results in files, each row in the journal", async () => {
  const { openai, simulator } = await provider();
  const made = await submit(openai, [line("a"), line("b", ERROR), line("c")], { buy: "7" });
  expect(made).toMatchObject({
    status: expect.not.stringMatching(/failed|expired|cancel/),
    metadata: { buy: "7" },
    request_counts: { total: 3 },
  });
  const batch = await ended(openai, made.id);
  expect(batch).toMatchObject({ status: "completed", request_counts: { total: 3, completed: 2, failed: 1 } });
  const output = await rows(openai, batch.output_file_id);
  expect(output.map(({ custom_id }) => custom_id).sort()).toEqual(["a", "c"]);
  expect(output[0].response.body.choices[0].message.content).toMatch(/^\[simulated\]/);
  const [failed] = await rows(openai, batch.error_file_id);
  expect([failed.custom_id, failed.response.status_code]).toEqual(["b", 500]);
  const journal = simulator.journal.entries();
  expect(
    journal.map(({ customId, lane, batchId, status }) => [customId, lane, batchId, status]).sort(),
  ).toEqual([
    ["a", "batch", made.id, 200],
    ["b", "batch", made.id, 500],
    ["c", "batch", made.id, 200],
  ]);
});

test("OpenAI: one that expires or is cancelled keeps what was done; the others are charged for nothing", async () => {
  const { openai, simulator } = await provider();
  simulator.setBatches({ expire: { times: 1, doneShare: 0.5 }, speed: 1e6 });
  const four = ["a", "b", "c", "d"].map((id) => line(id));
  const expired = await ended(openai, (await submit(openai, four)).id);
  expect([expired.status, expired.request_counts]).toEqual([
    "expired",
    { total: 4, completed: 2, failed: 0 },
  ]);
  const errors = await rows(openai, expired.error_file_id);
  expect(errors.map(({ custom_id, error }) => [custom_id, error.code])).toEqual([
    ["c", "batch_expired"],
    ["d", "batch_expired"],
  ]);
  simulator.setBatches({ speed: 1000, durationMs: 1e9 });
  const { id } = await submit(openai, four);
  expect((await openai.batches.cancel(id)).status).toBe("cancelling");
  const cancelled = await ended(openai, id);
  expect([cancelled.status, cancelled.output_file_id]).toEqual(["cancelled", null]);
  expect((await rows(openai, cancelled.error_file_id)).map(({ error }) => error.code)).toEqual(
    Array(4).fill("batch_cancelled"),
  );
  expect(simulator.journal.entries()).toHaveLength(2);
});

test("OpenAI: lines that are wrong, and tokens over the pool, fail the batch; results can be gone", async () => {
  const { openai, simulator } = await provider();
  const twice = await submit(openai, [line("a"), line("a")]);
  expect([twice.status, twice.errors?.data?.[0]]).toMatchObject([
    "failed",
    { code: "duplicate_custom_id", line: 2 },
  ]);
  simulator.setBatches({ tokenPool: 1 });
  expect((await submit(openai, [line("a")])).errors?.data?.[0]?.code).toBe("token_limit_exceeded");
  simulator.setBatches({ tokenPool: null });
  const { id } = await submit(openai, [line("a")]);
  const batch = await ended(openai, id);
  simulator.setBatches({ areResultsGone: true });
  await expect(openai.files.content(batch.output_file_id!)).rejects.toThrow(OpenAI.NotFoundError);
  await expect(openai.batches.retrieve("batch_none")).rejects.toThrow(OpenAI.NotFoundError);
});

test("OpenAI: a batch is there although its answer was lost; lists name the newest first, page by page", async () => {
  const { openai, simulator } = await provider();
  simulator.setBatches({ loseCreateAnswers: 1 });
  await expect(submit(openai, [line("a")], { buy: "lost" })).rejects.toThrow(OpenAI.APIConnectionError);
  const later = await submit(openai, [line("a")], { buy: "later" });
  const metadata = async () => {
    const all = [];
    for await (const batch of openai.batches.list({ limit: 1 })) all.push(batch.metadata?.buy);
    return all;
  };
  expect(await metadata()).toEqual(["later", "lost"]);
  const page = await openai.batches.list({ limit: 1 });
  expect([page.data[0]?.id, page.has_more]).toEqual([later.id, true]);
  const stranger = new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: "other", maxRetries: 0 });
  await expect(stranger.batches.retrieve(later.id)).rejects.toThrow(OpenAI.NotFoundError);
});

test("Anthropic: a batch ends with results in another order, errors among them", async () => {
  const { anthropic, simulator } = await provider();
  const request = (custom_id: string, content = "hello") => ({
    custom_id,
    params: { model: "claude", max_tokens: 50, messages: [{ role: "user" as const, content }] },
  });
  const requests = [
    request("a"),
    request("b", ERROR),
    ...Array.from({ length: 8 }, (_, n) => request(`r${n}`)),
  ];
  const made = await anthropic.messages.batches.create({ requests });
  expect(made).toMatchObject({ processing_status: "in_progress", request_counts: { processing: 10 } });
  await waitFor("the end", async () => {
    return (await anthropic.messages.batches.retrieve(made.id)).processing_status === "ended";
  });
  const results = [];
  for await (const one of await anthropic.messages.batches.results(made.id)) results.push(one);
  const names = results.map(({ custom_id }) => custom_id);
  expect(names.toSorted()).toEqual(requests.map(({ custom_id }) => custom_id).toSorted());
  expect(names).not.toEqual(requests.map(({ custom_id }) => custom_id));
  expect(results.find(({ custom_id }) => custom_id === "b")?.result).toMatchObject({
    type: "errored",
    error: { error: { type: "api_error" } },
  });
  expect(simulator.journal.entries().filter(({ status }) => status === 200)).toHaveLength(9);
  simulator.setBatches({ durationMs: 1e9 });
  const { id } = await anthropic.messages.batches.create({ requests });
  await anthropic.messages.batches.cancel(id);
  await waitFor("its cancellation", async () => {
    return (await anthropic.messages.batches.retrieve(id)).request_counts.canceled === 10;
  });
  const listed = await anthropic.messages.batches.list({ limit: 1 });
  expect([listed.data[0]?.id, listed.has_more]).toEqual([id, true]);
  const older = await anthropic.messages.batches.list({ after_id: id });
  expect(older.data.map((one) => one.id)).toEqual([made.id]);
});

test("durations: half up to 7 minutes, 90 % up to an hour, 5 % between 8 and 24, 1 % longer", () => {
  const hours = Array.from({ length: 1000 }, (_, n) => durationOf(n / 1000) / (60 * MINUTE_MS));
  const share = (from: number, to: number) => hours.filter((one) => one >= from && one < to).length / 1000;
  expect(share(0, 7 / 60)).toBeCloseTo(0.5, 2);
  expect(share(0, 1)).toBeCloseTo(0.9, 2);
  expect(share(8, 24)).toBeCloseTo(0.05, 2);
  expect(share(24, 1000)).toBeCloseTo(0.01, 2);
});

test("flex: a call finds room or not; the answer says its tier", async () => {
  const { openai, simulator } = await provider({ flexRefused: 0.5 });
  const ask = (n: number) =>
    openai.chat.completions
      .create({ model: "gpt", service_tier: "flex", messages: [{ role: "user", content: `q ${n}` }] })
      .then(
        ({ service_tier }) => service_tier,
        ({ status, code }) => [status, code],
      );
  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => ask(n)));
  expect(new Set(answers.map(String))).toEqual(new Set(["flex", "429,resource_unavailable"]));
  expect(new Set(simulator.journal.entries().map(({ lane }) => lane))).toEqual(new Set(["flex"]));
});

test("equal long beginnings are cached, for the same account and model, in both vendors' usage", async () => {
  const { openai, anthropic, simulator } = await provider({ promptCache: true });
  const long = "a long instruction that is the same for all. ".repeat(200);
  const ask = async (content: string, model = "gpt") => {
    const messages = [
      { role: "system" as const, content: long },
      { role: "user" as const, content },
    ];
    const { usage } = await openai.chat.completions.create({ model, messages });
    return usage?.prompt_tokens_details?.cached_tokens;
  };
  expect(await ask("first")).toBe(0);
  const cached = await ask("second");
  expect(cached).toBeGreaterThan(2000);
  expect((cached ?? 0) % 128).toBe(0);
  expect(await ask("third", "other")).toBe(0);
  const message = async (content: string) => {
    const messages = [{ role: "user" as const, content }];
    const { usage } = await anthropic.messages.create({
      model: "claude",
      max_tokens: 9,
      system: long,
      messages,
    });
    return usage;
  };
  await message("first");
  const usage = await message("second");
  expect(usage.cache_read_input_tokens).toBe(cached);
  expect(simulator.journal.entries().at(-1)?.cachedTokens).toBe(cached);
  expect(usage.input_tokens).toBeGreaterThan(0);
});
