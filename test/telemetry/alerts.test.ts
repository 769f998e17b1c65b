import { Queue } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import type { AlertSettings } from "../../src/shared/metrics-settings.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { readAlerts, saveAlerts } from "../../src/store/alert-state.ts";
import { ClockWatch } from "../../src/store/clock-watch.ts";
import { addOutcomes } from "../../src/store/fleet-outcomes.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import { AlertJudge } from "../../src/telemetry/alert-judge.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";
import { wireServer } from "../support/wire-server.ts";

const logger = createLogger({ level: "silent", json: true });
const QUEUE = completionQueueName(modelRef("simulator", "test"));

/** Two processes that judge, and the address that they tell. */
async function openJudges(changes: Partial<AlertSettings>, statusOf: (n: number) => number = () => 200) {
  const namespace = testNamespace();
  const store = testStore(namespace);
  const webhook = await wireServer((response) => {
    response.writeHead(statusOf(webhook.requests.length), { location: "http://127.0.0.1:9/" }).end("no");
  });
  const { alerts } = loadSettings({ env: {}, cwd: "/" });
  const webhooks = { allowPrivate: "all" as const, timeoutMs: 5000 };
  const settings = { namespace, webhooks, alerts: { ...alerts, webhook: `${webhook.url}/hook`, ...changes } };
  const clock = new ClockWatch(store, logger);
  const judges = [1, 2].map(() => new AlertJudge({ store, settings, logger, clock, everyMs: 100 }));
  onTestFinished(async () => void (await Promise.all(judges.map((judge) => judge.close()))));
  const told = () => webhook.requests.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  const states = () => told().map(({ type, state }) => `${type} ${state}`);
  /** Several looks later. */
  const looks = async () => {
    const before = await store.redis.time();
    await waitFor("further looks", async () => Number((await store.redis.time())[0]) > Number(before[0]) + 1);
  };
  return { store, told, states, looks, webhook };
}

const none = new Map<string, number>();
const sums = (ended: number, failed: number, costUsd = 0) => ({ ended, failed, costUsd });

test("failures are told once, however many processes look and however long it lasts, and so is their end", async () => {
  const { store, told, states, looks } = await openJudges({ failureRate: 0.25 });
  await addOutcomes(store, sums(100, 20), none);
  await addOutcomes(store, sums(20, 15), none);
  await waitFor("the alert", () => told()[0]);
  await looks();
  expect(told()).toEqual([
    expect.objectContaining({
      type: "alert.failure_rate",
      state: "firing",
      value: 35 / 120,
      limit: 0.25,
      text: expect.stringContaining("35 of 120 jobs failed in 10 minutes (limit 25 %)"),
    }),
  ]);
  await addOutcomes(store, sums(80, 0), none);
  await waitFor("the recovery", () => told()[1]);
  // Within the window it is not told again, nor is that end.
  await addOutcomes(store, sums(80, 80), none);
  await looks();
  expect(states()).toEqual(["alert.failure_rate firing", "alert.failure_rate resolved"]);
});

test("a process that has nobody to tell leaves the look to those that have", async () => {
  const { store, looks } = await openJudges({ webhook: undefined });
  await looks();
  // Whoever looks holds the key for most of the time until the next look.
  expect(await store.redis.exists(store.keys.alertSweep)).toBe(0);
});

test("what an hour and a day may cost; a webhook that fails is asked again, and a redirect is no answer", async () => {
  const { store, told, states } = await openJudges({ hourUsd: 5, dayUsd: 50 }, (n) =>
    n === 1 ? 500 : n === 2 ? 307 : 200,
  );
  await addOutcomes(store, sums(1, 0, 3), none);
  // Two hours ago: of the day alone.
  await addOutcomes(store, sums(1, 0, 40), none, Date.now() - 2 * 3_600_000);
  await addOutcomes(store, sums(1, 0, 2.5), none);
  await waitFor("the alert", () => states().length === 3);
  expect(new Set(states())).toEqual(new Set(["alert.spend_hour firing"]));
  expect(told()[2]).toMatchObject({
    value: 5.5,
    limit: 5,
    text: expect.stringContaining("$5.50 were spent"),
  });
  await addOutcomes(store, sums(1, 0, 10), none);
  await waitFor("the day's alert", () => states().includes("alert.spend_day firing"));
});

test("a look that another one has overtaken writes nothing over it", async () => {
  const store = testStore(testNamespace());
  const alert = "breaker_open:simulator:test";
  const stands = async () => (await readAlerts(store)).get(alert);
  const firing = { since: 1, toldAt: 2, isFiring: true };
  await saveAlerts(store, [{ alert, text: undefined, state: firing }]);
  const { text } = (await stands()) ?? {};
  // It had found no message, nor what came of it.
  await saveAlerts(store, [{ alert, text: undefined, state: { since: 1, isFiring: false } }]);
  expect((await stands())?.state).toEqual(firing);
  await saveAlerts(store, [{ alert, text, state: { toldAt: 2, isFiring: false } }]);
  await saveAlerts(store, [{ alert, text, state: undefined }]);
  expect((await stands())?.state).toEqual({ toldAt: 2, isFiring: false });
  await saveAlerts(store, [{ alert, text: (await stands())?.text, state: undefined }]);
  expect(await stands()).toBeUndefined();
  // What somebody else has spoilt does not stay.
  await store.redis.hset(store.keys.alerts, alert, "{broken");
  await saveAlerts(store, [{ alert, text: (await stands())?.text, state: firing }]);
  expect((await stands())?.state).toEqual(firing);
});

test("jobs that nobody takes, and a breaker that stays open", async () => {
  const { store, told, states, looks } = await openJudges({ stuckMs: 60_000, breakerMs: 1500 });
  const queue = new Queue(QUEUE, { connection: store.redis, prefix: store.keys.prefix });
  onTestFinished(() => queue.close());
  await registerQueue(store, QUEUE);
  await queue.add("completion", {}, { timestamp: Date.now() - 5000, priority: 10 });
  await queue.add("later", {}, { timestamp: Date.now() - 600_000, delay: 595_000 });
  await looks();
  expect(told()).toEqual([]);
  const old = await queue.add("completion", {}, { timestamp: Date.now() - 90_000 });
  await waitFor("the alert", () => told()[0]);
  expect(told()[0]).toMatchObject({ type: "alert.queue_stuck", subject: QUEUE, state: "firing" });
  await queue.remove(old.id ?? "");
  await waitFor("its end", () => states().includes("alert.queue_stuck resolved"));

  const [seconds = 0] = await store.redis.time();
  await store.redis.hset(store.keys.breaker("simulator:test"), "openedAt", Number(seconds) * 1000);
  await waitFor("the breaker's alert", () => states().includes("alert.breaker_open firing"));
  const { since, at } = told().at(-1) as { since: number; at: number };
  expect(at - since).toBeGreaterThanOrEqual(1500);
  // Nobody wants the model any more: nobody knows whether its provider still fails.
  await queue.drain(true);
  await waitFor("its end", () => states().includes("alert.breaker_open resolved"));
  // A queue that an operator has paused is not stuck.
  await queue.pause();
  await queue.add("completion", {}, { timestamp: Date.now() - 900_000 });
  await looks();
  expect(states().filter((state) => state.endsWith("firing"))).toHaveLength(2);
});
