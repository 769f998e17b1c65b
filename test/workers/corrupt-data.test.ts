import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { startWorker } from "../../src/host/one-process.ts";
import { defineWorkflow, type WorkflowHandle } from "../../src/index.ts";
import { readQueueStates } from "../../src/producers/queue-states.ts";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { jobKey, partsOf } from "../../src/store/bullmq-internals.ts";
import type { Store } from "../../src/store/store.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const QUEUE = completionQueueName(modelRef("simulator", "test"));
const echo = defineWorkflow({
  name: "echo",
  input: z.string(),
  output: z.string(),
  run: async (ctx, question) => (await ctx.complete("answer", question, { model: MODEL })).finalResponse,
});

const sleeper = defineWorkflow({
  name: "sleeper",
  input: z.number(),
  output: z.string(),
  run: async (ctx, ms) => {
    await ctx.sleep("sleep", ms);
    return "done";
  },
});

type Damage = (store: Store, key: string) => Promise<unknown>;
const asText: Damage = ({ redis }, key) => redis.multi().del(key).set(key, "text").exec();
const field =
  (name: string, value: string): Damage =>
  ({ redis }, key) =>
    redis.hset(key, name, value);

/** What somebody did to the hash of a waiting job: BullMQ cannot read it then, and takes it again and again. */
const UNREADABLE: Record<string, Damage> = {
  "data that is no JSON": field("data", "{not json"),
  "options that are no JSON": field("opts", "oops"),
  "options that are no object": field("opts", "null"),
  "progress that is no JSON": field("progress", "{"),
  "another type of key": asText,
};
/** BullMQ can read these: their job fails, or does without. */
const ODD: Record<string, Damage> = {
  "no fields but one": ({ redis }, key) => redis.multi().del(key).hset(key, "name", "completion").exec(),
  "no hash": ({ redis }, key) => redis.del(key),
  "data of another kind": field("data", "[1]"),
};

async function openFleet() {
  const site = await TestSite.open();
  onTestFinished(() => site[Symbol.asyncDispose]());
  const store = testStore(site.namespace);
  const lines: Record<string, unknown>[] = [];
  const logger = pino(
    { level: "warn" },
    {
      write: (line: string) => lines.push(JSON.parse(line)),
    },
  );
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const work = async () => {
    const worker = await startWorker({
      store: testStore(site.namespace),
      settings,
      logger,
      workflows: [echo, sleeper],
    });
    onTestFinished(() => worker.close());
  };
  return { site, store, lines, settings, work, client: siteClient(site) };
}

test("jobs that cannot be read are set aside with one line each, and keep no others from running", async () => {
  const { site, store, lines, settings, work, client } = await openFleet();
  const damaged: string[] = [];
  for (const damage of [...Object.values(UNREADABLE), ...Object.values(ODD)]) {
    const { id } = await client.enqueue("lost", { model: MODEL });
    await damage(store, jobKey(store, QUEUE, id));
    damaged.push(id);
  }
  const runs: WorkflowHandle<string>[] = [];
  for (const damage of Object.values(UNREADABLE)) {
    const run: WorkflowHandle<string> = await client.workflows.start(echo, "why?");
    await damage(store, jobKey(store, workflowQueue("echo"), run.id));
    runs.push(run);
  }
  // Names that nobody could have registered, and a card of nobody's.
  await store.redis.hset(store.keys.queues, {
    "": "{}",
    "a:b": "{}",
    "completions.simulator.%E0%A4%A": "{}",
  });
  await store.redis.multi().set(store.keys.worker("w"), "{oops").sadd(store.keys.workers, "w").exec();
  await store.redis.sadd(store.keys.workers, "w");
  const healthy = await client.enqueue("fine", { model: MODEL });
  await work();
  expect((await healthy.result()).finalResponse).toBeTruthy();
  // A run's record and journal have all that its job had: it gets another job.
  for (const run of runs) expect(await run.result()).toBeTruthy();
  const { active } = partsOf(store, QUEUE);
  await waitFor("all to be over", async () => (await store.redis.llen(active)) === 0);
  const said = lines.filter(({ msg }) => /cannot be read and was set aside/.test(String(msg)));
  expect(
    said
      .filter(({ queue }) => queue === QUEUE)
      .map(({ jobId }) => jobId)
      .sort(),
  ).toEqual(damaged.slice(0, Object.keys(UNREADABLE).length).sort());
  expect(said.filter(({ queue }) => queue === workflowQueue("echo"))).toHaveLength(runs.length);
  expect(lines.filter(({ msg }) => msg === "queue worker fault").length).toBeLessThan(8);
  const passedOver = lines.flatMap(({ msg, queue, worker }) =>
    /name|card/.test(String(msg)) && /repair/.test(String(msg)) ? [worker ?? queue] : [],
  );
  expect(passedOver).toEqual(expect.arrayContaining(["", "a:b", "w"]));
  const states = await readQueueStates(store, settings);
  expect(states.map(({ queue }) => queue)).toContain(QUEUE);
  const shown = await site.run("queues", "repair");
  expect(shown.stdout).toContain(damaged[0]);
  expect(shown.stdout).toContain("nothing is removed without --yes");
  expect((await site.run("queues", "repair", "--yes")).stdout).toMatch(/removed 13\n/);
  expect((await site.run("queues", "repair")).stdout).toBe("nothing to repair\n");
  expect(await store.redis.hkeys(store.keys.queues)).toContain(QUEUE);
});

test("among delayed jobs none is lost beside one that cannot be read, and no worker stumbles over it again", {
  tags: "long",
}, async () => {
  const { site, store, lines, work, client } = await openFleet();
  const { redis } = store;
  const soon = Date.now() + 1000;
  const delayed = (prompt: string) =>
    client.enqueue(prompt, { model: MODEL, delayMs: Math.max(1, soon - Date.now()) });
  // In one look of BullMQ: some before, some after each that is damaged.
  const healthy = [await delayed("first")];
  const damaged: string[] = [];
  for (const [name, damage] of Object.entries({ ...UNREADABLE, ...ODD })) {
    const { id } = await delayed(name);
    await damage(store, jobKey(store, QUEUE, id));
    damaged.push(id);
    healthy.push(await delayed(`after ${name}`));
  }
  const run = await client.workflows.start(sleeper, 3_600_000);
  const far = await client.enqueue("far", { model: MODEL, delayMs: 3_600_000 });
  await asText(store, jobKey(store, QUEUE, far.id));
  await waitFor("all to be due", () => Date.now() > soon);
  await work();
  for (const job of healthy) expect((await job.result()).finalResponse).toBeTruthy();
  const wrongType = damaged[Object.keys(UNREADABLE).indexOf("another type of key")];
  const aside = () => lines.filter(({ msg }) => /cannot be read and was set aside/.test(String(msg)));
  await waitFor("all to be set aside", () => aside().length >= Object.keys(UNREADABLE).length);
  await waitFor("all to be over", async () => (await redis.llen(partsOf(store, QUEUE).active)) === 0);
  expect(aside().map(({ jobId }) => jobId)).toContain(wrongType);
  expect(aside()).toHaveLength(Object.keys(UNREADABLE).length);
  expect(lines.filter(({ msg }) => msg === "queue worker fault").length).toBeLessThan(8);
  // What is not due yet, an operator can see and remove; a run gets another job.
  const sleeping = jobKey(store, workflowQueue("sleeper"), run.id);
  await waitFor("its sleep", async () => (await run.status()).waitsFor.length > 0);
  await asText(store, sleeping);
  expect((await site.run("queues")).code).toBe(0);
  const shown = (await site.run("queues", "repair")).stdout;
  for (const id of [far.id, run.id])
    expect(shown).toMatch(new RegExp(`${id} .*its key is a string, not a hash; no worker has met it yet`));
  expect(await redis.type(sleeping)).toBe("string");
  expect((await site.run("queues", "repair", "--yes")).stdout).toMatch(/^removed 7$/m);
  expect((await site.run("queues", "repair")).stdout).toBe("nothing to repair\n");
  await run.cancel();
  await expect(far.result()).rejects.toMatchObject({ code: "job_lost" });
  await expect(run.result()).rejects.toMatchObject({ code: "cancelled" });
});

test("jobs that a worker left in no state are shown by repair, and put back", async () => {
  const { site, store, work, client } = await openFleet();
  const job = await client.enqueue("lost", { model: MODEL });
  await store.redis.lrem(partsOf(store, QUEUE).wait, 0, job.id);
  expect((await site.run("queues", "repair")).stdout).toContain("no worker would find it");
  expect((await site.run("queues", "repair", "--yes")).stdout).toMatch(/^put back 1$/m);
  await work();
  expect((await job.result()).finalResponse).toBeTruthy();
});

test("damaged records, journals and conversations end the job that needs them, and no other", async () => {
  const { store, lines, work, client } = await openFleet();
  const { redis, keys } = store;
  const record = await client.enqueue("record", { model: MODEL });
  const typed = await client.enqueue("type", { model: MODEL });
  const journal = await client.enqueue("journal", { model: MODEL, schema: z.object({ a: z.string() }) });
  const chat = client.conversation({ model: MODEL });
  const talk = await chat.enqueue("hello");
  await redis.multi().set(keys.result(record.id), "{oops").rpush(keys.result(typed.id), "a list").exec();
  await redis.rpush(keys.journal(journal.id), "{oops");
  await asText(store, keys.conversation(chat.id));
  const run = await client.workflows.start(echo, "why?");
  await redis.rpush(keys.workflowJournal(run.id), "{oops");
  const lost = await client.workflows.start(echo, "why not?");
  await redis.hset(keys.workflow(lost.id), "local", "{oops");
  const healthy = await client.enqueue("fine", { model: MODEL });
  await work();
  expect((await healthy.result()).finalResponse).toBeTruthy();
  const failed = async (result: Promise<unknown>) =>
    ((await result.catch((error) => error)) as Error).message;
  for (const job of [record, typed, journal, talk, run, lost]) {
    expect(await failed(job.result())).toMatch(/cannot be read: its data in Redis is damaged/);
  }
  await waitFor("all jobs to be over", async () => (await redis.llen(partsOf(store, QUEUE).active)) === 0);
  const faults = lines.filter(({ msg }) => /unexpected|broke off/.test(String(msg)));
  expect(faults).toEqual([]);
});
