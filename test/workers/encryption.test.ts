import { randomBytes, randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { HistoryConsumer } from "../../src/history/consumer.ts";
import { defineTool, defineWorkflow, GlueLLM, type WorkflowContext } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { openStore } from "../../src/store/connected-store.ts";
import { keyRingOf } from "../../src/store/key-ring.ts";
import { anyActivity } from "../support/any-activity.ts";
import { around, bytesBelow } from "../support/bytes-below.ts";
import { failureOf } from "../support/provider.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { collect } from "../support/streamed.ts";
import { waitFor } from "../support/wait-for.ts";

/** Each client says its own. */
const NO_KEYS = { GLUELLM_ENCRYPTION_KEYS: "" };
const silent = createLogger({ level: "silent", json: true });
const newKey = (id: string) => `${id}:${randomBytes(32).toString("base64")}`;

async function openSite(env: Record<string, string>): Promise<TestSite> {
  const site = await TestSite.open({ latencyMs: 2 }, env);
  onTestFinished(() => site[Symbol.asyncDispose]());
  return site;
}

test("no word of what was said is in Redis, its files, the history or the logs; all of it is read again", async () => {
  const server = await startRedisServer({ appendonly: "yes", rdbcompression: "no" });
  const redisUrl = `redis://127.0.0.1:${server.port}`;
  const site = await openSite({ GLUELLM_REDIS_URL: redisUrl, GLUELLM_ENCRYPTION_KEYS: newKey("one") });
  const env = {
    ...site.env,
    GLUELLM_DATA_DIR: site.path("data"),
    GLUELLM_LOG_DIR: site.path("logs"),
    GLUELLM_LOG_FILE_LEVEL: "debug",
    GLUELLM_HISTORY: "true",
    GLUELLM_HISTORY_CONTENT: "full",
  };
  const word = `canary${randomUUID().replaceAll("-", "")}`;
  const say = (about: string, ...turns: object[]) =>
    `${word} ${about}\n#sim ${JSON.stringify({ turns: turns.length > 0 ? turns : [{ reply: `${word} answers ${about}` }] })}`;
  const note = defineTool({
    name: "note",
    description: "Takes a note.",
    parameters: z.object({ text: z.string() }),
    execute: ({ text }) => `${text} is noted: ${word}`,
  });
  const work = anyActivity(async (input: { text: string }, { heartbeat }) => {
    await heartbeat({ at: input.text });
    return { brought: input.text };
  });
  const workflow = (name: string, run: (ctx: WorkflowContext, input: unknown) => Promise<unknown>) =>
    defineWorkflow({ name, input: z.any(), output: z.any(), run });
  const talks = workflow("talks", async (ctx, input) => {
    const answer = await ctx.complete("ask", say("of a run"));
    const worked = await ctx.activity("work", { text: word });
    const local = await ctx.run("local", () => `${word} locally`);
    const signal = await ctx.waitFor("go");
    ctx.metadata.set("seen", word);
    return { input, answer: answer.finalResponse, worked, local, signal };
  });
  const fails = workflow("fails", async () => {
    throw new TypeError(`${word} is wrong`);
  });
  const settings = loadSettings({ env, cwd: site.folder });
  const store = openStore({ url: redisUrl }, site.namespace, silent, keyRingOf(settings.encryption));
  const history = new HistoryConsumer({ store, settings, logger: silent, idleMs: 10 });
  onTestFinished(async () => {
    await history.close();
    store.disconnect();
  });
  await waitFor("the history to be written", () => store.redis.hget(store.keys.outbox, "history"));
  const worker = new GlueLLM({
    mode: "local",
    settings,
    model: "simulator:test",
    tools: [note],
    workflows: [talks, fails],
    activities: [work],
  });
  onTestFinished(() => worker.close());

  const plain = await worker.complete(say("plainly"), { temperature: 0 });
  expect(plain.finalResponse).toBe(`${word} answers plainly`);
  expect((await worker.complete(say("plainly"), { temperature: 0 })).fromCache).toBe(true);
  const asksTool = say(
    "with tools",
    { toolCalls: [{ name: "note", arguments: { text: word } }] },
    { reply: word },
  );
  expect((await worker.complete(asksTool)).toolExecutionHistory[0]?.result).toContain(word);
  const events = await collect(
    worker.handle((await worker.enqueue(say("streamed"), { stream: true })).id).stream(),
  );
  expect(JSON.stringify(events)).toContain(`${word} answers streamed`);
  const large = await worker.complete(say(`largely ${"and on ".repeat(4000)}`));
  expect(large.finalResponse).toContain(word);
  const talk = worker.conversation();
  await talk.complete(say("in a conversation"));
  await talk.complete(say("again"));
  expect(JSON.stringify(await talk.messages())).toContain(`${word} answers in a conversation`);
  const failed = worker.complete(say("in vain", { error: "bad_request" }));
  expect(await failureOf(failed)).toMatchObject({ code: expect.any(String) });
  const run = await worker.workflows.start("talks", { asks: word, more: `${word} `.repeat(2000) });
  await run.signal("go", { says: word });
  expect(JSON.stringify(await run.result())).toContain(`${word} locally`);
  const wrong = await worker.workflows.start("fails", { asks: word });
  expect(await failureOf(wrong.result())).toMatchObject({ message: expect.stringContaining(word) });
  await waitFor(
    "all ends in the history",
    async () => (await store.redis.xlen(store.keys.outboxHistory)) === 0,
  );
  const { redis } = store;
  await worker.close();
  await redis.save();
  const stored = {
    redis: bytesBelow(server.folder),
    history: bytesBelow(site.path("data")),
    logs: bytesBelow(site.path("logs")),
  };
  expect(stored.redis.length).toBeGreaterThan(10_000);
  expect(stored.history).toContain(plain.jobId);
  for (const [place, bytes] of Object.entries(stored)) {
    expect([place, around(word, bytes)]).toEqual([place, "nothing"]);
  }
});

/** A client whose process has these settings of encryption, of one site's fleet. */
function client(site: TestSite, env: Record<string, string>, mode: "local" | "fleet" = "fleet"): GlueLLM {
  const settings = loadSettings({ env: { ...site.env, ...env }, cwd: "/" });
  const glue = new GlueLLM({ mode, settings, model: MODEL });
  onTestFinished(() => glue.close());
  return glue;
}

test("a worker without the key puts jobs back and says why; one with it does them", async () => {
  const site = await openSite(NO_KEYS);
  const keys = { GLUELLM_ENCRYPTION_KEYS: newKey("one") };
  const caller = client(site, keys);
  const job = await caller.enqueue("Is it read?");
  const without = client(site, {}, "local");
  await without.complete("in clear");
  await waitFor("it is put back", async () => {
    const { state, waitsFor } = await job.status();
    return state === "delayed" && waitsFor.includes("a worker with the key of its encryption");
  });
  await without.close();
  const worker = client(site, keys, "local");
  await worker.complete("with the key");
  expect((await job.result()).finalResponse).toContain("simulated");
  expect(site.paidCalls().get("Is it read?")).toBe(1);
  const blind = client(site, {}).handle(job.id).result();
  expect(await failureOf(blind)).toMatchObject({ code: "encryption_key_missing" });
});

test("what was stored before encryption is found again, and bought once", async () => {
  const site = await openSite(NO_KEYS);
  const keys = { GLUELLM_ENCRYPTION_KEYS: newKey("one") };
  const readOnly = { ...keys, GLUELLM_ENCRYPTION_DECRYPT_ONLY: "true" };
  const first = client(site, {}, "local");
  const before = await first.complete("The same?", { idempotencyKey: "k1" });
  await first.close();
  const worker = client(site, keys, "local");
  for (const env of [keys, readOnly])
    expect((await client(site, env).complete("The same?", { idempotencyKey: "k1" })).jobId).toBe(
      before.jobId,
    );
  const after = await worker.complete("And now?", { idempotencyKey: "k2" });
  expect((await client(site, readOnly).complete("And now?", { idempotencyKey: "k2" })).jobId).toBe(
    after.jobId,
  );
  const other = client(site, keys).complete("Another one", { idempotencyKey: "k2" });
  expect(await failureOf(other)).toMatchObject({ code: "idempotency_conflict" });
  // One that cannot decrypt takes another request under the key for a conflict, and buys nothing.
  expect(await failureOf(client(site, {}).complete("And now?", { idempotencyKey: "k2" }))).toMatchObject({
    code: "idempotency_conflict",
  });
  expect([site.paidCalls().get("The same?"), site.paidCalls().get("And now?")]).toEqual([1, 1]);
});

test("keys are rotated by a command that tells its progress, and wrong ones are one clear error", async () => {
  const site = await openSite(NO_KEYS);
  const [old, next] = [newKey("old"), newKey("next")];
  const worker = client(site, { GLUELLM_ENCRYPTION_KEYS: old }, "local");
  const { jobId } = await worker.complete("Kept?", { idempotencyKey: "k" });
  const run = async (keys: string, ...args: string[]) => {
    const { exit, stdout, stderr } = site.startWith({ GLUELLM_ENCRYPTION_KEYS: keys }, ...args);
    return { code: await exit, stdout: stdout(), stderr: stderr() };
  };
  expect(await run(`${next},${old}`, "keys", "rotate-encryption")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("2 of 2 data keys were wrapped anew"),
    stderr: expect.stringContaining("2 of 2 data keys"),
  });
  expect((await client(site, { GLUELLM_ENCRYPTION_KEYS: next }).handle(jobId).result()).jobId).toBe(jobId);
  const short = Buffer.alloc(31, 1).toString("base64");
  const bad = await run(`a:${short}`, "worker");
  expect(bad).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('key "a" has 31 bytes and must have 32'),
  });
  expect(bad.stderr).not.toContain(short);
});
