import { writeFileSync } from "node:fs";
import { Queue } from "bullmq";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineTool, type GlueLLM } from "../../src/index.ts";
import { findFailedJobs } from "../../src/producers/dead-letters.ts";
import { searchJobs } from "../../src/producers/job-search.ts";
import { SCHEDULE_QUEUE, WEBHOOK_QUEUE } from "../../src/shared/catalog.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { jobKey, partsOf } from "../../src/store/bullmq-internals.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import { failureOf } from "../support/provider.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const OTHER = "simulator:other";
const prices = {
  [MODEL]: { inputPerMillion: 1000, outputPerMillion: 1000 },
  [OTHER]: { inputPerMillion: 2000, outputPerMillion: 2000 },
};
const step = defineTool({
  name: "step",
  description: "Takes a step.",
  parameters: z.object({}),
  execute: () => "a step",
});

let site: TestSite;
let glue: GlueLLM;
beforeAll(async () => {
  site = await TestSite.open(
    { faults: { script: [{ match: "refused", fault: "400" }] } },
    { GLUELLM_PRICES: JSON.stringify(prices) },
  );
  glue = openClient(site, { mode: "local", tools: [step] });
});
afterAll(async () => {
  await glue.close();
  await site[Symbol.asyncDispose]();
});

const script = (about: string, ...turns: object[]) => `${about}\n#sim ${JSON.stringify({ turns })}`;
const callsOf = (about: string) =>
  site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(about));

/** A job that fails, once it is a dead letter. */
async function failed(prompt: string, options = {}): Promise<string> {
  const handle = await glue.enqueue(prompt, options);
  await failureOf(handle.result());
  await waitFor(
    "it is a dead letter",
    async () => (await glue.deadLetters.list({ id: handle.id })).length === 1,
  );
  return handle.id;
}

describe("dead letters", () => {
  test("are grouped by cause, and tried again as they are: what was paid is not paid again", async () => {
    const prompt = script(
      "again",
      { toolCalls: [{ name: "step" }] },
      { error: "400", errorTimes: 1 },
      { reply: "well" },
    );
    const id = await failed(prompt, { tools: ["step"] });
    const [group] = await glue.deadLetters.groups({ code: "invalid_request" });
    expect(group).toMatchObject({ kind: "job", subject: MODEL, count: 1, example: { id } });
    expect(await glue.deadLetters.show(id)).toMatchObject({ id, request: { messages: [{ role: "user" }] } });

    const dry = await glue.deadLetters.replay({ id }, { dryRun: true });
    expect(dry).toMatchObject({ matched: 1, changed: 0, quoteUsd: expect.any(Number) });
    expect(dry.quoteUsd).toBeGreaterThan(0.5);
    expect(await glue.deadLetters.replay({ id })).toMatchObject({ changed: 1, replayed: { [id]: id } });
    const state = () =>
      glue
        .handle(id)
        .status()
        .then((status) => status.state);
    await waitFor("it has succeeded", async () => (await state()) === "succeeded");
    // The tool's turn, the refusal, and the same once more.
    expect(callsOf("again").map(({ turn }) => turn)).toEqual([0, 1, 1]);
  });

  test("go on with another model as new jobs that keep what was paid, once", async () => {
    const prompt = script(
      "forked",
      { toolCalls: [{ name: "step" }] },
      { error: "400", errorTimes: 1 },
      { reply: "well" },
    );
    const id = await failed(prompt, { tools: ["step"] });
    const { replayed, failures } = await glue.deadLetters.replay({ id }, { model: OTHER });
    expect(failures).toEqual([]);
    const fork = replayed[id] ?? "";
    expect(fork).not.toBe(id);
    // The provider refuses it once for each model: the fork is a dead letter of its own.
    await waitFor("the fork has ended", async () => (await glue.deadLetters.list({ id: fork })).length === 1);
    expect(await glue.deadLetters.show(fork)).toMatchObject({ forkOf: id, subject: OTHER, costUsd: 0 });
    // Of its first turn there is one call, though two models worked on it.
    expect(callsOf("forked").filter(({ turn }) => turn === 0)).toHaveLength(1);
    expect(callsOf("forked").at(-1)?.model).toBe("other");
    expect(await glue.deadLetters.list({ id })).toEqual([]);
    expect(await glue.deadLetters.drop({ model: OTHER })).toMatchObject({ changed: 1 });
  });

  test("take an edit of the request, which is checked", async () => {
    const id = await failed("refused");
    await expect(glue.deadLetters.replay({ id }, { edit: { messages: "none" } })).resolves.toMatchObject({
      failed: 1,
      failures: [{ id, message: expect.stringContaining("messages") }],
    });
    const edit = { messages: [{ role: "user", content: 'mended\n#sim {"reply":"fine"}' }] };
    const { replayed } = await glue.deadLetters.replay({ id }, { edit });
    const fork = replayed[id] ?? "";
    expect((await glue.handle(fork).result()).finalResponse).toBe("fine");
    await expect(glue.deadLetters.show(id)).rejects.toThrow(/no dead letter/);
  });

  test("are another tenant's to nobody else, and dropped by what they are", async () => {
    const id = await failed("refused, to be dropped");
    const other = openClient(site, { tenant: "acme" });
    expect(await other.deadLetters.list()).toEqual([]);
    expect(await other.deadLetters.drop({ id })).toMatchObject({ matched: 0, changed: 0 });
    await other.close();
    await expect(glue.deadLetters.drop({})).rejects.toThrow(/would be all of them/);
    expect(await glue.deadLetters.drop({ code: "invalid_request", model: MODEL })).toMatchObject({
      changed: 1,
    });
    expect(await glue.deadLetters.list()).toEqual([]);
    // Its handle still knows how it ended.
    expect(await failureOf(glue.handle(id).result())).toMatchObject({ code: "invalid_request" });
  });

  test("are no cancelled jobs, and no jobs when runs are meant", async () => {
    const handle = await glue.enqueue('#sim {"latencyMs":60000}\nslow', { maxAttempts: 1 });
    const store = testStore(site.namespace);
    const stateOf = async () => (await handle.status()).state;
    await waitFor("its call", async () => (await stateOf()) === "active");
    await handle.cancel();
    const { failed: ended } = partsOf(store, completionQueueName(modelRef("simulator", "test")));
    await waitFor("BullMQ's end of it", async () => (await store.redis.zscore(ended, handle.id)) !== null);
    expect(await glue.deadLetters.list({ id: handle.id })).toEqual([]);

    const id = await failed("refused, and kept");
    expect(await glue.deadLetters.drop({ kind: "run" })).toMatchObject({ matched: 0, changed: 0 });
    expect(await glue.deadLetters.drop({ id })).toMatchObject({ changed: 1 });
  });

  test("are failed rows of a program's batch, which go on in its own files", async () => {
    const row = (n: number, said: string) => ({
      custom_id: `row-${n}`,
      ...{ method: "POST", url: "/v1/chat/completions" },
      body: { messages: [{ role: "user", content: said }] },
    });
    const once = script("row", { error: "400", errorTimes: 1 }, { reply: "well" });
    const inputPath = site.write("letters.jsonl", [row(0, "fine"), row(1, once), row(2, `${once} `)]);
    const outputPath = site.path("letters.out.jsonl");
    const { id, failed: rows } = await (
      await glue.batches.run({ inputPath, outputPath, model: MODEL })
    ).report();
    expect(rows).toBe(2);
    const [group] = await glue.deadLetters.groups({ kind: "batch" });
    expect(group).toMatchObject({ subject: id, count: 2, hint: expect.stringContaining("--retry-failed") });

    // Who has not its files says where they are.
    const elsewhere = await glue.deadLetters.replay({ id }, { hasFiles: false });
    expect(elsewhere).toMatchObject({ failed: 1, failures: [{ code: "files_elsewhere" }] });
    const dry = await glue.deadLetters.replay({ id }, { dryRun: true });
    expect(dry).toMatchObject({ matched: 1, rows: 2, changed: 0, quoteUsd: expect.any(Number) });
    const replay = await site.run("dlq", "replay", id);
    expect(replay.stdout).toContain("1 of 1 dead letters replayed");
    expect(site.read("letters.out.jsonl").map(({ error }) => error)).toEqual([null, null, null]);
    expect(await glue.deadLetters.list({ kind: "batch" })).toEqual([]);
    expect(callsOf("fine")).toHaveLength(1);
  });

  test("are commands too", { tags: "long" }, async () => {
    const id = await failed("refused by the command");
    const list = await site.run("dlq", "list");
    expect(list.stdout).toContain("invalid_request");
    const dry = await site.run(
      "dlq",
      "replay",
      "--where",
      "code=invalid_request",
      "--since",
      "1h",
      "--dry-run",
    );
    expect(dry.stdout).toMatch(/1 dead letter would be replayed: about \$\d/);
    writeFileSync(
      site.path("edit.json"),
      JSON.stringify({ messages: [{ role: "user", content: "fine now" }] }),
    );
    const replay = await site.run("dlq", "replay", id, "--edit", "edit.json", "--set", `model=${OTHER}`);
    expect(replay.stdout).toMatch(new RegExp(`1 of 1 dead letters replayed\n${id} → job-`));
    const other = await failed("refused, and dropped by the command");
    for (const act of ["drop", "replay"]) {
      const none = await site.run("dlq", act, other, "job-nonsense");
      expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining("no dead letter job-nonsense") });
    }
    const dropped = await site.run("dlq", "drop", other, "--json");
    expect(JSON.parse(dropped.stdout)).toMatchObject({ changed: 1, dropped: [other] });
    expect(dropped.stdout).not.toContain("replayed");
    const wrong = await site.run("dlq", "list", "--where", "colour=red");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("code=") });
  });
});

test.each([SCHEDULE_QUEUE, WEBHOOK_QUEUE])(
  "jobs of the queue %s are no dead letters, and no job's search shows them",
  async (name) => {
    const store = testStore(site.namespace);
    await registerQueue(store, name);
    const queue = new Queue(name, { connection: store.redis, prefix: store.keys.prefix });
    onTestFinished(() => queue.close());
    const { id = "" } = await queue.add("of its own", {}, { jobId: `of-${name}` });
    // As BullMQ has one that failed for good.
    await store.redis
      .multi()
      .lrem(partsOf(store, name).wait, 1, id)
      .zadd(partsOf(store, name).failed, Date.now(), id)
      .hset(jobKey(store, name, id), "failedReason", "gone", "finishedOn", Date.now())
      .exec();
    expect(await queue.getFailedCount()).toBe(1);
    expect(await findFailedJobs(store, {})).not.toContainEqual(expect.objectContaining({ id }));
    const found = await searchJobs(store, { tenant: "default", text: id, limit: 10, withContent: true });
    expect(found.jobs).toEqual([]);
  },
);
