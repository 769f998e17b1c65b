import { expect, onTestFinished, test } from "vitest";
import { FleetBudgets } from "../../src/limits/fleet-budgets.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const KEY = "openai:m";
const headers = (limits: Record<string, number>) =>
  new Headers(Object.entries(limits).map(([kind, limit]) => [`x-ratelimit-limit-${kind}`, String(limit)]));

/** Two processes of a fleet, each with a subscription. */
async function openFleet(limits = {}) {
  const keys = redisKeys(testNamespace());
  const start = async () => {
    const [redis, subscriber] = [testRedis(), testRedis()];
    const changes: string[][] = [];
    const budgets = new FleetBudgets({
      store: plainStore(redis, keys),
      settings: { limits, learnLimits: true },
      logger: createLogger({ level: "silent", json: true }),
      onChange: (changed) => changes.push(changed),
    });
    // What a change at the test's end says may find its connection closed.
    subscriber.on("message", (_channel, message: string) => void budgets.read(message).catch(() => {}));
    await subscriber.subscribe(keys.topic("limits"));
    onTestFinished(() => {
      redis.disconnect();
      subscriber.disconnect();
    });
    budgets.of(KEY);
    return {
      budgets,
      changes,
      forget: () => redis.del(keys.learnedLimits),
      stored: () => redis.hlen(keys.learnedLimits),
      see: (stated: Record<string, number>, sentAtMs = performance.now()) =>
        budgets.observe(KEY, { headers: headers(stated), isSuccess: true, sentAtMs }),
    };
  };
  return [await start(), await start()] as const;
}

test("one process learns for all, and each is told which keys changed", async () => {
  const [first, second] = await openFleet({ "openai:*": { rpm: 100 } });
  first.see({ requests: 60, tokens: 9000 });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60, tpm: 9000 });
  await waitFor("the other process", () => second.budgets.of(KEY)?.rpm === 60);
  expect(second.changes).toEqual([[KEY]]);
  const late = (await openFleet())[0];
  expect(late.budgets.of(KEY)).toBeUndefined();
});

test("answers to calls from before a change say nothing", async () => {
  const [first] = await openFleet();
  const before = performance.now();
  first.see({ requests: 60 });
  first.see({ requests: 30 }, before);
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60 });
  first.see({ requests: 30 });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 30 });
});

test("limits that alternate from answer to answer settle at the lower one", async () => {
  const [first] = await openFleet();
  for (let answer = 0; answer < 100; answer++) first.see({ requests: answer % 2 ? 60 : 600 });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60 });
  expect(first.changes.length).toBe(2);
});

test("a limit that answers no longer state is forgotten, but not at the first", async () => {
  const [first, second] = await openFleet();
  first.see({ requests: 60, tokens: 9000 });
  for (let answer = 0; answer < 9; answer++) first.see({ requests: 60 });
  first.see({ requests: 60, tokens: 9000 });
  for (let answer = 0; answer < 9; answer++) first.see({ requests: 60 });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60, tpm: 9000 });
  first.see({ requests: 60 });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60 });
  for (let answer = 0; answer < 10; answer++) first.see({});
  expect(first.budgets.of(KEY), "no limit, not an empty budget").toBeUndefined();
  await waitFor("the other process", () => second.budgets.of(KEY)?.tpm === undefined);
});

test("refusals teach, but their silence takes nothing back", async () => {
  const [first] = await openFleet();
  const refusal = { isSuccess: false, sentAtMs: performance.now() };
  first.budgets.observe(KEY, { ...refusal, headers: headers({ requests: 60 }) });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60 });
  for (let answer = 0; answer < 20; answer++)
    first.budgets.observe(KEY, { headers: new Headers(), isSuccess: false, sentAtMs: performance.now() });
  expect(first.budgets.of(KEY)).toEqual({ rpm: 60 });
});

test("two changes at once both reach the fleet, and what Redis lost is told again", async () => {
  const [first, second] = await openFleet();
  first.see({ requests: 60 });
  await waitFor("the first value", () => second.budgets.of(KEY)?.rpm === 60);
  first.see({ requests: 30 });
  await waitFor("the second value", () => second.budgets.of(KEY)?.rpm === 30);
  await first.forget();
  await first.budgets.read();
  expect(first.budgets.of(KEY)).toEqual({ rpm: 30 });
  await waitFor("Redis has it again", async () => (await first.stored()) === 1);
});
