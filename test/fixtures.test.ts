import { createHash } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CompletionEvent, defineTool, type GlueLLM } from "../src/index.ts";
import * as definitions from "./fixtures/definitions.ts";
import { type Expected, readQueues } from "./fixtures/manifest.ts";
import { isEncrypted, testRedis } from "./support/redis.ts";
import { readManifest, restoreFixture } from "./support/restore-fixture.ts";
import { TestSite } from "./support/site.ts";
import { openClient } from "./support/site-client.ts";
import { collect, outcome } from "./support/streamed.ts";
import { waitFor } from "./support/wait-for.ts";

const FOLDER = join(import.meta.dirname, "fixtures");
const VERSIONS = readdirSync(FOLDER).filter((name) => existsSync(join(FOLDER, name, "manifest.json")));
/**
 * Lost workers' jobs are taken up within 9 s, and not within 3 as in other tests: this process loads a worker's modules with
 * its first job, and on a busy machine that alone outlasts a lock of 2 s.
 */
const LOCKS = { GLUELLM_LOCK_MS: "6000" };
const { essay, nap, leaf, family, wrong, add, charge } = definitions;
/** That no worker of the recordings had. */
const lookup = defineTool({
  name: "lookup",
  description: "Looks something up.",
  parameters: { type: "object", properties: {} },
  execute: () => "found",
});

describe.each(VERSIONS)("what version %s left goes on", (version) => {
  const folder = join(FOLDER, version);
  const { env, jobs, runs, conversations, cached, keyed, batch, paid, queues } = readManifest(folder);
  let site: TestSite;
  /** Asks; the other one works, from its first call on. */
  let reader: GlueLLM;
  let worker: GlueLLM;
  let streamed: Promise<CompletionEvent[]>;

  beforeAll(async () => {
    site = await TestSite.open({ latencyMs: 2 }, { ...env, ...LOCKS });
    const redis = testRedis();
    await restoreFixture(folder, site, redis);
    redis.disconnect();
    reader = openClient(site);
    const workflows = [essay, nap, leaf, family, wrong];
    streamed = collect(reader.handle(jobs.stream?.id ?? "").stream());
    streamed.catch(() => {});
    worker = openClient(site, { mode: "local", workflows, tools: [add, charge, lookup] });
  });

  afterAll(async () => {
    await Promise.all([worker?.close(), reader?.close()]);
    await site?.[Symbol.asyncDispose]();
  });

  test("handles and runs are read before any worker goes on", async () => {
    for (const [name, { id, bullmq, record }] of Object.entries(jobs)) {
      const { state } = await reader.handle(id).status();
      expect([name, state]).toEqual([name, record === "none" ? stateOf(bullmq) : record]);
    }
    for (const [name, { id, status }] of Object.entries(runs)) {
      expect([name, (await reader.workflows.open(id).status()).state]).toEqual([name, status]);
    }
    expect((await reader.workflows.list()).length).toBeGreaterThanOrEqual(Object.keys(runs).length);
  });

  test("queues show their jobs, learned limits and breakers", async () => {
    expect(readQueues((await site.run("queues", "--json")).stdout)).toEqual(queues);
  });

  test("the batch's command goes on from its files", async () => {
    const [run] = await Promise.all([site.run(...batch.command), worker.workflows.list()]);
    expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining("20 of 20 rows succeeded") });
    const lines = site.read("out.jsonl") as { custom_id: string; response: { body: Answer } }[];
    expect(lines.map((line) => line.custom_id)).toEqual(batch.custom_ids);
    expect(lines.map(({ response }) => response.body.choices[0]?.message.content)).toEqual(batch.texts);
    const rows = site.simulator.journal.entries().filter(({ model }) => model === "batch");
    expect(rows).toHaveLength(batch.custom_ids.length - batch.paid.length);
  });

  test.each(Object.entries(jobs))("job %s", async (_name, { id, expected }) => {
    const handle = reader.handle(id);
    if (expected.stays) return expect((await handle.status()).state).toBe(expected.stays);
    if (expected.error) {
      return expect(handle.result()).rejects.toMatchObject({ code: expected.error });
    }
    const { finalResponse, output, fallbacks, toolExecutionHistory } = await handle.result();
    const brought: Expected = {
      text: finalResponse,
      textSha256: createHash("sha256").update(finalResponse).digest("hex"),
      output,
      fallbacks: fallbacks.map(({ model }) => model),
      tools: toolExecutionHistory.map(({ result, error }) => result ?? error?.code ?? ""),
    };
    expect(brought).toMatchObject(expected);
    expect((await handle.status()).state).toBe("succeeded");
  });

  test.each(Object.entries(runs))("run %s", async (_name, { id, status, signal, expected }) => {
    const run = reader.workflows.open(id);
    if (status !== "running") await expect(run.signal("review")).rejects.toMatchObject({ code: "run_over" });
    if (signal) await run.signal(signal.name, signal.data);
    if (expected.error) {
      await expect(run.result()).rejects.toMatchObject({ code: expected.error });
    } else {
      expect(await run.result()).toEqual(expected.output);
    }
  });

  test("who read a half-told stream is told of the restart, and then the whole", async () => {
    const events = await streamed;
    expect(events[0]).toMatchObject({ type: "text" });
    expect(events.filter(({ type }) => type === "restart")).toHaveLength(1);
    expect(outcome(events).text).toBe(jobs.stream?.expected.text);
  });

  test("conversations hold their turns, and go on with them", async () => {
    for (const { id, calls, texts } of Object.values(conversations)) {
      const conversation = reader.conversation({ id, mustExist: true });
      const said = async () =>
        (await conversation.messages()).map(({ content }) => firstLine(String(content)));
      await waitFor(`the turns of ${id}`, async () => (await said()).length === texts.length);
      expect(await said()).toEqual(texts);
      expect(await conversation.usage()).toMatchObject({ calls, unpriced: 0 });
      const next = `next in ${id}`;
      await conversation.complete(`${next}\n#sim {"reply": "more"}`, { model: "simulator:test" });
      expect(await said()).toEqual([...texts, next, "more"]);
      const call = site.simulator.journal.entries().find(({ lastUserText }) => lastUserText.startsWith(next));
      expect(call?.turn).toBe(
        (await conversation.messages()).filter(({ role }) => role === "assistant").length - 1,
      );
    }
  });

  test("a key returns its job, and a cached answer is one", async () => {
    for (const { key, job, prompt, model } of keyed) {
      const handle = await reader.enqueue(prompt, { idempotencyKey: key, model });
      expect(handle.id).toBe(jobs[job]?.id);
      await expect(reader.enqueue("something else", { idempotencyKey: key, model })).rejects.toMatchObject({
        code: "idempotency_conflict",
      });
    }
    const { prompt, model, text } = cached;
    const { finalResponse, fromCache } = await reader.complete(prompt, { model, temperature: 0 });
    // Encrypted, the cache begins empty: its keys are made with a secret.
    if (isEncrypted) return;
    expect([finalResponse, fromCache]).toEqual([text, true]);
  });

  // The row that is in the file, but was never told to BullMQ, completes too.
  test("only what is to come later is left in the queues, and only what was to fail has failed", async () => {
    const total = (shown: typeof queues, state: string) =>
      Object.values(shown).reduce((sum, { counts }) => sum + (counts[state] ?? 0), 0);
    const ended = await waitFor("the end of all others", async () => {
      const shown = readQueues((await site.run("queues", "--json")).stdout);
      return total(shown, "waiting") + total(shown, "active") === 0 && total(shown, "delayed") === 1
        ? shown
        : undefined;
    });
    expect(ended["simulator:later"]?.counts.delayed).toBe(1);
    const toFail = Object.values(jobs).filter(({ record, expected }) => record === "none" && expected.error);
    expect(total(ended, "failed")).toBe(total(queues, "failed") + toFail.length);
  });

  test("no paid call is sent again, and none is sent twice", () => {
    const calls = site.simulator.journal.entries();
    const again = calls.flatMap(({ contentHash }) => paid[contentHash] ?? []);
    // Encrypted, the cache begins empty.
    expect(again).toEqual(isEncrypted ? ["cached"] : []);
    expect(calls.filter(({ status }) => status !== 200)).toEqual([]);
    expect(new Set(calls.map(({ contentHash }) => contentHash)).size).toBe(calls.length);
    expect(calls.length).toBeGreaterThan(20);
  });
});

interface Answer {
  choices: { message: { content: string } }[];
}

function stateOf(bullmq: string): string {
  if (["wait", "prioritized", "waiting-children"].includes(bullmq)) return "waiting";
  return bullmq;
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? "";
}
