import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { holdEmbeddedRedis } from "../../src/embedded-redis/hold.ts";
import type { CompletionEvent } from "../../src/index.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { jobLockKey } from "../../src/store/bullmq-internals.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { isEncrypted, testRedis } from "../support/redis.ts";
import { redisOptions } from "../support/redis-folders.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { ask, collect, outcome, REPLY, whole } from "../support/streamed.ts";
import { wireServer } from "../support/wire-server.ts";

const QUEUE = completionQueueName(modelRef("simulator", "test"));

const redis = testRedis();
afterAll(() => redis.disconnect());

test("a worker killed in mid-stream: the reader is told of the restart, and nothing is doubled", {
  tags: "long",
}, async () => {
  await using site = await TestSite.open();
  const worker = site.start("worker");
  const handle = await siteClient(site).enqueue(ask("killed", 1000), { stream: true });
  const events: CompletionEvent[] = [];
  for await (const event of handle.stream()) {
    if (events.push(event) > 1) continue;
    worker.child.kill("SIGKILL");
    await worker.exit;
    // What the stall check does, 15 s later.
    const keys = redisKeys(site.namespace);
    const key = (part: string) => `${keys.prefix}:${QUEUE}:${part}`;
    const moved = redis
      .multi()
      .del(jobLockKey({ keys }, QUEUE, handle.id))
      .lrem(key("active"), 1, handle.id);
    await moved.rpush(key("wait"), handle.id).zadd(key("marker"), 0, "0").exec();
    site.start("worker");
  }
  expect(events.filter(({ type }) => type === "restart")).toEqual([{ type: "restart", turn: 1 }]);
  expect(outcome(events)).toMatchObject(whole);
  expect(site.simulator.journal.entries()).toHaveLength(2);
});

test("turn after turn: tool calls, their repetition after a fault, and the last answer, also from a record", async () => {
  const script = [{ match: "turns of", fault: "stream_error", times: 1 }];
  await using site = await TestSite.open({ faults: JSON.stringify({ script }) });
  site.start("worker", "--module", join(import.meta.dirname, "../support/tools.ts"));
  const call = { name: "add", arguments: { a: 1, b: 2 } };
  const turns = [{ reply: "I add these two.", toolCalls: [call] }, { reply: REPLY }];
  const prompt = `turns of one conversation\n#sim ${JSON.stringify({ turns })}`;
  const glue = siteClient(site);
  const handle = await glue.enqueue(prompt, { tools: ["add"], stream: true });
  const events = await collect(handle.stream());
  // The simulator breaks off each distinct request once: both turns.
  expect(events.filter(({ type }) => type === "turn" || type === "restart")).toEqual([
    { type: "restart", turn: 1 },
    { type: "turn", turn: 2 },
    { type: "restart", turn: 2 },
  ]);
  expect(outcome(events)).toMatchObject(whole);
  const second = events.findIndex(({ type }) => type === "turn");
  const first = events.slice(events.findIndex(({ type }) => type === "restart") + 1, second);
  expect(outcome(first).text).toBe("I add these two.");
  const pieces = first.filter((event) => event.type === "toolCall");
  expect(JSON.parse(pieces.map((piece) => piece.arguments).join(""))).toEqual(call.arguments);
  // Who comes later is told none of what is void.
  const late = await collect(handle.stream());
  expect(late.filter(({ type }) => type !== "text" && type !== "toolCall").map(({ type }) => type)).toEqual([
    "turn",
    "result",
  ]);
  await redis.del(redisKeys(site.namespace).stream(handle.id));
  expect((await collect(handle.stream())).map(({ type }) => type)).toEqual(["text", "result"]);
});

test("connections that Redis drops in mid-stream cost nothing", async () => {
  const held = await holdEmbeddedRedis(redisOptions());
  onTestFinished(() => held.release());
  const own = testRedis({ path: held.socketPath });
  onTestFinished(() => own.disconnect());
  await using site = await TestSite.open({}, { GLUELLM_REDIS_URL: `unix://${held.socketPath}` });
  site.start("worker");
  const events: CompletionEvent[] = [];
  for await (const event of siteClient(site).stream(ask("dropped", 1200))) {
    if (events.push(event) % 3 !== 1) continue;
    // Readers and worker alike.
    for (const type of ["normal", "pubsub"]) await own.call("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes");
  }
  expect(outcome(events)).toMatchObject(whole);
  expect(outcome(events).pieces).toBeGreaterThan(3);
  expect(events.some(({ type }) => type === "restart")).toBe(false);
  expect(site.simulator.journal.entries()).toHaveLength(1);
});

test("an answer of 10 MB arrives whole, though only its first 4 MiB while it is produced", async () => {
  const piece = `${"abcdefghi ".repeat(10_000)}`;
  const chunk = (delta: object, finish: string | null) =>
    `data: ${JSON.stringify({ id: "1", model: "test", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const provider = await wireServer(async (response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let n = 0; n < 100; n++) {
      response.write(chunk({ content: piece }, null));
      await delay(5);
    }
    response.end(chunk({}, "stop"));
  });
  await using site = await TestSite.open({}, { SIMULATOR_BASE_URL: `${provider.url}/v1` });
  site.start("worker");
  const events = await collect(siteClient(site).stream("much"));
  const { text, result } = outcome(events);
  expect(text.length).toBe(100 * piece.length);
  expect(text === result).toBe(true);
  expect(events.some(({ type }) => type === "restart")).toBe(false);
  const [streamKey = ""] = await redis.keys(redisKeys(site.namespace).stream("*"));
  const entries = await redis.xrange(streamKey, "-", "+");
  const kept = entries.flatMap(([, fields]) => fields).reduce((sum, field) => sum + field.length, 0);
  expect(kept).toBeGreaterThan(3.5 * 1024 * 1024);
  // What Redis sets aside for it grows with the size of the parcels, which is the machine's affair.
  // Encrypted texts are a third longer.
  expect(kept).toBeLessThan((isEncrypted ? 5.6 : 4.1) * 1024 * 1024);
});
