import { expect, inject, onTestFinished, test } from "vitest";
import { connectedStore } from "../../src/store/connected-store.ts";
import { Script } from "../../src/store/script.ts";
import { NOTIFY, notify } from "../../src/store/topics.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { SocketProxy } from "../support/socket-proxy.ts";
import { waitFor } from "../support/wait-for.ts";

/** A process of the fleet: what it hears is written down. */
function openProcess(namespace: string, options: Record<string, unknown> = {}) {
  const store = connectedStore(testRedis(options), namespace);
  store.redis.on("error", () => {});
  onTestFinished(() => store.disconnect());
  const heard: string[] = [];
  const hear = (topic: string) => (subject: string) => heard.push(`${topic} ${subject}`);
  return { store, heard, hear };
}

type Process = ReturnType<typeof openProcess>;

/** Resolves when all that was published before has been heard. */
async function allHeard({ store }: Process): Promise<void> {
  const { promise: came, resolve } = Promise.withResolvers<void>();
  using _ = await store.notifier.listen({ "result:the last one": () => resolve() });
  await store.redis.publish(store.keys.topic("result:the last one"), "the last one");
  await came;
}

test("a process hears its own topics, each message once, and Redis sends it no others", async () => {
  const namespace = testNamespace();
  const [worker, client] = [openProcess(namespace), openProcess(namespace)];
  const queues = await worker.store.notifier.listen({ queue: worker.hear("queue") });
  const { store, hear } = client;
  const result = await store.notifier.listen({ "result:a": hear("result"), "batch:b": hear("batch") });
  const channels = () => store.redis.pubsub("CHANNELS", `${store.keys.topic("")}*`);
  expect((await channels()).sort()).toEqual(["batch:b", "queue", "result:a"].map(store.keys.topic));
  for (const subject of ["a", "b", "c"]) {
    for (const topic of ["result", "batch", "queue", "cancel"] as const) await notify(store, topic, subject);
  }
  await Promise.all([worker, client].map(allHeard));
  expect(client.heard).toEqual(["result a", "batch b"]);
  expect(worker.heard).toEqual(["queue a", "queue b", "queue c"]);
  queues[Symbol.dispose]();
  result[Symbol.dispose]();
  await waitFor("no subscription", async () => (await channels()).length === 0);
});

test("listeners share a subscription, which ends with the last of them", async () => {
  const { store, heard, hear } = openProcess(testNamespace());
  const first = await store.notifier.listen({ "result:a": hear("first") });
  const second = await store.notifier.listen({ "result:a": hear("second") });
  const subscribers = async () => (await store.redis.pubsub("NUMSUB", store.keys.topic("result:a")))[1];
  expect(await subscribers()).toBe(1);
  first[Symbol.dispose]();
  await notify(store, "result", "a");
  await waitFor("the second", () => heard.length > 0);
  second[Symbol.dispose]();
  await waitFor("its end", async () => (await subscribers()) === 0);
  expect(heard).toEqual(["second a"]);
});

test("these wake processes of version 0.1, whose one channel they do not listen to", async () => {
  const { store, heard, hear } = openProcess(testNamespace());
  await store.notifier.listen({ "result:a": hear("result"), pause: hear("pause") });
  const old = testRedis();
  onTestFinished(() => old.disconnect());
  const oldHeard: string[] = [];
  old.on("message", (_channel, text: string) => oldHeard.push(text));
  await old.subscribe(store.keys.channel);
  expect((await store.redis.pubsub("NUMSUB", store.keys.channel))[1]).toBe(1);
  await notify(store, "pause", "100:openai:m");
  const script = new Script({
    keys: [],
    args: { channel: "text", id: "text" },
    lua: `${NOTIFY}
      notify('cancel', id)
      notify('result', id)`,
  });
  await script.run(store.redis, {}, { channel: store.keys.channel, id: "a" });
  await waitFor("the messages", () => heard.length === 2 && oldHeard.length === 3);
  expect(heard).toEqual(["pause 100:openai:m", "result a"]);
  expect(oldHeard).toEqual(["pause:100:openai:m", "cancel:a", "result:a"]);
});

test("a subscriber that lost its connection hears again", async () => {
  const proxy = await SocketProxy.open(inject("redisSocket"));
  onTestFinished(() => proxy.close());
  const namespace = testNamespace();
  const { store, heard, hear } = openProcess(namespace, { path: proxy.path });
  await store.notifier.listen({ "result:a": hear("result"), queue: hear("queue") });
  const other = openProcess(namespace).store;
  proxy.cut();
  // What is published before it has subscribed again is lost.
  const comes = (message: string, publish: () => Promise<unknown>) =>
    waitFor(message, async () => {
      await publish();
      return heard.includes(message);
    });
  await comes("result a", () => notify(other, "result", "a"));
  await comes("queue q", () => notify(other, "queue", "q"));
});
