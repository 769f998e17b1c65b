import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import { defineWorkflow } from "../../src/index.ts";
import { workflowQueue } from "../../src/shared/catalog.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import type { Store } from "../../src/store/store.ts";
import { testStore } from "../support/redis.ts";
import { redisOptions } from "../support/redis-folders.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

/** A Redis of one test's own, and a site on it whose calls have a budget. */
async function openSite() {
  const held = await holdEmbeddedRedis(redisOptions());
  onTestFinished(() => held.release());
  const site = await TestSite.open(
    {},
    {
      GLUELLM_REDIS_URL: `unix://${held.socketPath}`,
      GLUELLM_LIMITS: JSON.stringify({ "simulator:*": { rpm: 10_000 } }),
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const store = testStore(site.namespace, held.socketPath);
  const before = await connections(store);
  /** The names of those that were opened since. */
  const opened = async () =>
    [...(await connections(store))].flatMap(([id, name]) => (before.has(id) ? [] : [name])).sort();
  return { site, store, opened };
}

/** Every connection to the server by its id: its name, which BullMQ makes of a queue's. */
async function connections({ redis }: Store): Promise<Map<string, string>> {
  const lines = String(await redis.client("LIST"))
    .trim()
    .split("\n");
  const part = (line: string, name: RegExp) => name.exec(line)?.[1] ?? "";
  return new Map(lines.map((line) => [part(line, /^id=(\d+)/), part(line, / name=(\S*)/)]));
}

const SHARED = ["gluellm:commands", "gluellm:subscriber"];
const blocking = ({ namespace }: TestSite, ...queues: string[]) =>
  queues.map((queue) => `{gluellm:${namespace}}:${Buffer.from(queue).toString("base64")}`).sort();

test("a worker has one connection for commands, one for messages, and one per queue", async () => {
  const { site, store, opened } = await openSite();
  const queues = ["a", "b", "test"].map((model) => completionQueueName(modelRef("simulator", model)));
  for (const queue of queues) await registerQueue(store, queue);
  site.start("worker");
  const client = siteClient(site);
  await client.complete("hello");
  await client.close();
  const expected = [...SHARED, ...blocking(site, ...queues)];
  await waitFor("its connections", async () => (await opened()).length === expected.length);
  expect(await opened()).toEqual(expected);
});

test("a client that works itself shares the connections of its worker", async () => {
  const { site, opened } = await openSite();
  const workflow = defineWorkflow({
    name: "ask",
    input: z.string(),
    output: z.string(),
    run: async (ctx, question) => (await ctx.complete("answer", question, { model: MODEL })).finalResponse,
  });
  const client = siteClient(site, { mode: "local", workflows: [workflow] });
  await client.complete("hello");
  await (await client.workflows.start(workflow, "why?")).result();
  const queue = completionQueueName(modelRef("simulator", "test"));
  expect(await opened()).toEqual([...SHARED, ...blocking(site, workflowQueue("ask"), queue)]);
});

test("a worker beside 100 quiet queues has no connection for them, and takes up one that is used", async () => {
  const { site, store, opened } = await openSite();
  const longAgo = JSON.stringify({ registeredAt: Date.now() - 3_600_000 });
  const names = Array.from({ length: 100 }, (_, n) => completionQueueName(modelRef("simulator", `m${n}`)));
  await store.redis.hset(store.keys.queues, Object.fromEntries(names.map((name) => [name, longAgo])));
  const worker = site.start("worker");
  await waitFor("the worker", async () => (await opened()).includes("gluellm:subscriber"));
  const client = siteClient(site);
  await client.complete("hello", { model: "simulator:m7" });
  await client.close();
  const expected = [...SHARED, ...blocking(site, completionQueueName(modelRef("simulator", "m7")))];
  await waitFor("its connections", async () => (await opened()).length === expected.length);
  expect(await opened()).toEqual(expected);
  expect(worker.stderr()).not.toMatch(/ERROR/);
});
