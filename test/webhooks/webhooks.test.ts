import { createServer as createTcpServer, type Socket } from "node:net";
import { Queue } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { WEBHOOK_QUEUE } from "../../src/shared/catalog.ts";
import { saveBatch } from "../../src/store/batch.ts";
import { announceAlert } from "../../src/store/outbox.ts";
import { removeWebhook } from "../../src/store/webhook.ts";
import { waitFor } from "../support/wait-for.ts";
import { unwrap, webhookSite } from "../support/webhooks.ts";
import { deadUrl, wireServer } from "../support/wire-server.ts";

const FAST = [20, 30];

function opened(delays: readonly number[] = FAST, env?: Record<string, string>) {
  const site = webhookSite(delays, env);
  const host = site.host();
  onTestFinished(() => host.close());
  return site;
}

const taken = () => wireServer((response) => response.writeHead(204).end());

test("an event comes once, in OpenAI's shape, signed as their client checks it", async () => {
  const { store, webhooks } = opened();
  const receiver = await taken();
  const webhook = await webhooks.add("acme", `${receiver.url}/hook?a=b`, ["batch.*"]);
  expect(webhook).toMatchObject({
    state: "enabled",
    dead: 0,
    secret: expect.stringMatching(/^whsec_[\w+/=]{44}$/),
  });
  await saveBatch(store, { id: "other", status: "completed" });
  await saveBatch(store, {
    id: "batch-1",
    tenant: "acme",
    status: "completed",
    total: 3,
    succeeded: 2,
    failed: 1,
  });
  await waitFor("the event", () => receiver.requests.length > 0);
  const [request] = receiver.requests;
  if (!request) throw new Error("none came");
  expect(request.path).toBe("/hook?a=b");
  const event = await unwrap(request, webhook.secret);
  expect(event).toEqual({
    id: request.headers["webhook-id"],
    object: "event",
    type: "batch.completed",
    created_at: Math.floor(Date.parse(event.timestamp) / 1000),
    timestamp: expect.any(String),
    data: {
      ...{ id: "batch-1", state: "completed", tenant: "acme" },
      counts: { total: 3, succeeded: 2, failed: 1 },
    },
  });
  await expect(unwrap({ ...request, body: `${request.body} ` }, webhook.secret)).rejects.toThrow(/signature/);
  await waitFor("its note", async () => (await webhooks.get(webhook.id)).lastTry !== undefined);
  expect(await webhooks.tries(webhook.id)).toMatchObject([{ state: "delivered", status: 204, attempt: 1 }]);
  expect(receiver.requests).toHaveLength(1);
  expect(await store.redis.xlen(store.keys.outboxWebhooks)).toBe(0);
});

test("what fails is sent again, the same under the same id, and is dead in the end; a replay delivers it", async () => {
  const { store, webhooks } = opened();
  let answer = 500;
  const receiver = await wireServer((response) =>
    response.writeHead(answer, { location: "/elsewhere" }).end(),
  );
  const { id, secret } = await webhooks.add("default", receiver.url, ["alert.*"]);
  await announceAlert(store, { id: "a-1", state: "firing", name: "QueueStalled", labels: { queue: "q" } });
  await waitFor("its end", async () => (await webhooks.get(id)).dead === 1);
  const tries = await webhooks.tries(id);
  expect(tries.map(({ state, status, attempt }) => [state, status, attempt])).toEqual([
    ["dead", 500, 3],
    ["retrying", 500, 2],
    ["retrying", 500, 1],
  ]);
  expect(tries[1]?.nextTryAt?.getTime()).toBeGreaterThan(tries[1]?.at.getTime() ?? 0);
  expect(tries[0]?.error).toBe("the receiver answered 500");
  const [first, ...others] = receiver.requests;
  expect(others.map(({ body, headers }) => [body, headers["webhook-id"]])).toEqual(
    Array(2).fill([first?.body, first?.headers["webhook-id"]]),
  );
  // A redirect is followed nowhere.
  answer = 307;
  expect(await webhooks.replay(id)).toBe(1);
  await waitFor("its second end", async () => (await webhooks.get(id)).dead === 1);
  expect(receiver.requests.map(({ path }) => path)).toEqual(Array(6).fill("/"));
  answer = 200;
  const eventId = String(first?.headers["webhook-id"]);
  expect(await webhooks.replay(id, eventId)).toBe(1);
  await waitFor("its delivery", async () => (await webhooks.get(id)).lastTry?.state === "delivered");
  expect(await webhooks.get(id)).toMatchObject({ dead: 0 });
  const last = receiver.requests.at(-1);
  expect(last && (await unwrap(last, secret))).toMatchObject({
    id: eventId,
    data: { id: "a-1", state: "firing", name: "QueueStalled", labels: { queue: "q" } },
  });
  // It is one of the latest tries.
  expect(await webhooks.replay(id, eventId)).toBe(1);
  await waitFor("once more", () => receiver.requests.length === 8);
  await expect(webhooks.replay(id, "evt_unknown")).rejects.toMatchObject({ code: "unknown_event" });
});

test("what a worker's clock lets be sent again too early waits until its time", async () => {
  const { store, webhooks } = opened([3000]);
  const sentAt: number[] = [];
  const receiver = await wireServer((response) => {
    sentAt.push(performance.now());
    response.writeHead(sentAt.length === 1 ? 500 : 204).end();
  });
  await webhooks.add("default", receiver.url, ["alert.*"]);
  await announceAlert(store, { id: "a-1", state: "firing" });
  const queue = new Queue(WEBHOOK_QUEUE, { connection: store.redis, prefix: store.keys.prefix });
  await (await waitFor("the retry", async () => (await queue.getDelayed()).at(0))).promote();
  await waitFor("the delivery", () => sentAt.length === 2);
  await queue.close();
  expect(Number(sentAt[1]) - Number(sentAt[0])).toBeGreaterThanOrEqual(2800);
});

test("410 disables a webhook, and no more events are written for it until it is enabled", async () => {
  const { store, webhooks } = opened();
  let answer = 410;
  const receiver = await wireServer((response) => response.writeHead(answer).end());
  const { id } = await webhooks.add("default", receiver.url, ["alert.firing"]);
  await announceAlert(store, { id: "a", state: "firing" });
  await waitFor("its end", async () => (await webhooks.get(id)).state === "disabled");
  await waitFor("its note", async () => (await webhooks.get(id)).dead === 1);
  expect(await webhooks.get(id)).toMatchObject({ disabledReason: expect.stringContaining("410") });
  await announceAlert(store, { id: "b", state: "firing" });
  expect(await store.redis.exists(store.keys.outbox)).toBe(0);
  await expect(webhooks.replay(id)).rejects.toMatchObject({ code: "webhook_disabled" });
  answer = 200;
  expect((await webhooks.enable(id)).state).toBe("enabled");
  await announceAlert(store, { id: "c", state: "resolved" });
  await announceAlert(store, { id: "d", state: "firing" });
  await waitFor("the later one", () => receiver.requests.length === 2);
  expect(receiver.requests[1]?.body).toContain('"id":"d"');
  expect(await webhooks.replay(id)).toBe(1);
  await waitFor("the first one", () => receiver.requests.length === 3);
});

test("two secrets count for a time after a change, then the new one alone", async () => {
  const { webhooks } = opened();
  const receiver = await taken();
  const { id, secret } = await webhooks.add("default", receiver.url, ["*"]);
  const rotated = await webhooks.rotate(id, 60_000);
  expect(rotated.secret).not.toBe(secret);
  expect(rotated.previousSecretUntil?.getTime()).toBeGreaterThan(Date.now() + 50_000);
  expect(await webhooks.test(id)).toMatchObject({ status: 204 });
  const last = await webhooks.rotate(id, 0);
  expect(await webhooks.test(id)).toMatchObject({ status: 204 });
  const [during, after] = receiver.requests;
  if (!during || !after) throw new Error("none came");
  expect(await unwrap(during, secret)).toMatchObject({ type: "webhook.test" });
  expect(await unwrap(during, rotated.secret)).toMatchObject({ type: "webhook.test" });
  await expect(unwrap(after, rotated.secret)).rejects.toThrow(/signature/);
  expect(await unwrap(after, last.secret)).toMatchObject({ type: "webhook.test" });
});

test("a webhook that is removed while its secret changes is gone", async () => {
  const { store, webhooks } = opened();
  const { id } = await webhooks.add("default", (await taken()).url, ["*"]);
  const rotated = webhooks.rotate(id).catch((error: Error) => error);
  await removeWebhook(store, id);
  expect(await rotated).toMatchObject({ code: "unknown_webhook" });
  expect(await store.redis.exists(store.keys.webhook(id))).toBe(0);
});

/** A receiver that answers as no server should. */
async function oddReceiver(answer: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).once("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

test("odd receivers: what they answer is read to a limit, for a time, and never quoted", async () => {
  const env = { GLUELLM_WEBHOOK_ALLOW_PRIVATE: "127.0.0.0/8", GLUELLM_WEBHOOK_TIMEOUT_MS: "500" };
  const { webhooks } = opened(FAST, env);
  const endless = (socket: Socket) => {
    socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    const timer = setInterval(() => socket.write(`10000\r\n${"x".repeat(0x10000)}\r\n`), 1);
    socket.on("close", () => clearInterval(timer));
  };
  const receivers: [string, object][] = [
    [await oddReceiver(endless), { status: 200 }],
    [
      await oddReceiver((socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")),
      { status: 200 },
    ],
    [await oddReceiver(() => {}), { error: "no answer within 500 ms" }],
    [
      await oddReceiver((socket) => void socket.end("secret\r\n\r\n")),
      { error: expect.not.stringContaining("secret") },
    ],
    [await oddReceiver((socket) => void socket.destroy()), { error: expect.stringMatching(/^no answer: /) }],
    [await deadUrl(), { error: "no answer: ECONNREFUSED" }],
    ["http://nowhere.invalid/", { error: expect.stringMatching(/^no answer: (ENOTFOUND|EAI_AGAIN)$/) }],
  ];
  for (const [url, outcome] of receivers) {
    const { id } = await webhooks.add("default", url, ["*"]);
    expect(await webhooks.test(id), url).toMatchObject(outcome);
  }
});

test("an address that was allowed when the webhook was made is judged at each try", async () => {
  const before = webhookSite(FAST);
  const receiver = await taken();
  const port = new URL(receiver.url).port;
  const made = [];
  for (const host of ["127.0.0.1", "localhost", "2130706433"])
    made.push(await before.webhooks.add("default", `http://${host}:${port}/`, ["*"]));
  const { webhooks } = opened(FAST, {});
  for (const { id, url, tenant, events } of made) {
    // The same record, where loopback is not allowed.
    const now = webhookSite(FAST, {});
    const moved = now.store.keys.webhook(id);
    const fields = await before.store.redis.hgetall(before.store.keys.webhook(id));
    await now.store.redis.hset(moved, fields);
    expect([url.startsWith("http://"), tenant, events]).toEqual([true, "default", ["*"]]);
    expect(await now.webhooks.test(id)).toMatchObject({
      error: expect.stringContaining("is no public address"),
    });
  }
  expect(receiver.sockets).toBe(0);
  await expect(webhooks.add("default", receiver.url, ["*"])).rejects.toMatchObject({
    code: "webhook_address",
  });
});

test("webhooks are their tenant's; events and limits of one are nobody else's", async () => {
  const { store, webhooks, of } = opened();
  const receiver = await taken();
  const { id } = await webhooks.add("acme", receiver.url, ["job.failed", "job.failed", "run.*"]);
  expect((await of("acme").list()).map(({ events }) => events)).toEqual([["job.failed", "run.*"]]);
  expect(await of("other").list()).toEqual([]);
  for (const ask of ["get", "remove", "rotate", "test", "tries", "replay", "enable"] as const)
    await expect(of("other")[ask](id), ask).rejects.toMatchObject({ code: "unknown_webhook" });
  await expect(webhooks.get("wh_../../x")).rejects.toMatchObject({ code: "unknown_webhook" });
  await expect(webhooks.add("acme", receiver.url, ["jobs.*"])).rejects.toMatchObject({
    code: "webhook_events",
    hint: expect.stringContaining("job.*"),
  });
  await expect(webhooks.add("acme", receiver.url, [])).rejects.toMatchObject({ code: "webhook_events" });
  await webhooks.add("acme", receiver.url, ["alert.*"]);
  expect(await store.redis.hgetall(store.keys.outbox)).toEqual({
    "webhooks:acme": "|job.failed|run.*|alert.*|",
  });
  await webhooks.remove(id);
  expect(await store.redis.hgetall(store.keys.outbox)).toEqual({ "webhooks:acme": "|alert.*|" });
});

test("a receiver that is slow keeps no other from its events", async () => {
  const { store, webhooks } = opened();
  const held: (() => void)[] = [];
  onTestFinished(() => {
    for (const end of held) end();
  });
  const slow = await wireServer((response) => void held.push(() => response.end()));
  const fast = await taken();
  await webhooks.add("default", slow.url, ["alert.*"]);
  await webhooks.add("default", fast.url, ["alert.*"]);
  for (let n = 0; n < 50; n++) await announceAlert(store, { id: `a-${n}`, state: "firing" });
  await waitFor("the fast one's", () => fast.requests.length === 50);
  expect(new Set(fast.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(50);
  expect(slow.requests.length).toBeLessThanOrEqual(8);
});

test("damage: an entry, a webhook or a delivery that cannot be read holds up no other", async () => {
  const { store, webhooks } = opened();
  const receiver = await taken();
  const { id } = await webhooks.add("default", receiver.url, ["alert.*"]);
  const { redis, keys } = store;
  await redis.xadd(keys.outboxWebhooks, "*", "v", "9", "kind", "alert");
  await redis.zadd(keys.webhooks, 1, "wh_damaged", 2, "wh_gone");
  await redis.hset(
    keys.webhook("wh_damaged"),
    "id",
    "wh_damaged",
    "tenant",
    "x",
    "events",
    "[]",
    "secret",
    "sealed:1",
  );
  await announceAlert(store, { id: "a", state: "firing" });
  await waitFor("the good one", () => receiver.requests.length === 1);
  expect((await webhooks.list()).map((webhook) => webhook.id)).toEqual([id]);
  expect(JSON.stringify(await webhooks.list())).not.toContain("whsec_");
});
