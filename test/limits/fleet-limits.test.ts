import { Queue } from "bullmq";
import { describe, expect, onTestFinished, test } from "vitest";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { readBreakerState } from "../../src/store/breaker.ts";
import { readLearnedLimits } from "../../src/store/learned-limits.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore, storeOf } from "../../src/store/store.ts";
import { testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const KEY = MODEL;

function view(site: TestSite) {
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const keys = redisKeys(site.namespace);
  const queueNamed = (name: string) => {
    const queue = new Queue(name, { connection: redis, prefix: keys.prefix });
    onTestFinished(() => queue.close());
    return queue;
  };
  return { redis, keys, queueNamed };
}

const limitOf = async (site: TestSite) =>
  (await readLearnedLimits(storeOf(view(site).redis, site.namespace))).get(KEY);

describe("limits that nobody configured", () => {
  test("are learned from the answers, followed when they change in mid-run, and shown", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open({ rpm: 3000, tpm: 3_000_000 });
    site.write("in.jsonl", site.rows(400));
    const run = site.start(...site.batch());
    const progress = () => site.simulator.stats().accepted.requests;
    await waitFor("80 rows", () => progress() > 80);
    expect(await limitOf(site)).toEqual({ rpm: 3000, tpm: 3_000_000 });
    site.simulator.setLimits({ rpm: 1500 });
    await waitFor("the lower limit", async () => (await limitOf(site))?.rpm === 1500);
    await waitFor("160 rows", () => progress() > 160);
    site.simulator.setLimits({ rpm: 6000 });
    await waitFor("the higher limit", async () => (await limitOf(site))?.rpm === 6000);
    const queues = await site.run("queues");
    expect(queues.stdout).toMatch(/\d+\/6,000 learned/);
    expect(await run.exit).toBe(0);
    expect(run.stderr()).toMatch(/RPM [\d,]+ of [\d,]+ learned/);
    // The first calls know nothing, and those under way at a change know the old limit.
    expect(site.simulator.stats().rateLimited).toBeLessThan(60);
    expect(site.countLines("out.jsonl")).toBe(400);
  });

  test("are not learned where that is switched off", async () => {
    await using site = await TestSite.open({ rpm: 60_000 }, { GLUELLM_LEARN_LIMITS: "false" });
    site.write("in.jsonl", site.rows(5));
    expect((await site.run(...site.batch())).code).toBe(0);
    expect(await limitOf(site)).toBeUndefined();
  });
});

describe("a 429", () => {
  test("pauses every queue that shares the budget, for the time the provider says, and uses up no attempt", {
    tags: "long",
  }, async () => {
    const limits = {
      "simulator:a": { bucket: "shared", rpm: 60_000 },
      "simulator:b": { bucket: "shared" },
    };
    await using site = await TestSite.open(
      {
        faults: { script: [{ match: "refused", times: 1, fault: "429", retryAfterMs: 2500 }] },
      },
      { GLUELLM_LIMITS: JSON.stringify(limits), GLUELLM_RETRY_MAX_ATTEMPTS: "1" },
    );
    const { queueNamed } = view(site);
    site.write("in.jsonl", [
      ...site.rows(20).map((row) => ({ ...row, model: "simulator:b" })),
      { custom_id: "refused", prompt: "refused", model: "simulator:a" },
    ]);
    const run = site.start(...site.batch());
    await waitFor("the 429", () => site.simulator.journal.entries().some(({ status }) => status === 429));
    for (const name of ["a", "b"]) {
      const queue = queueNamed(completionQueueName(modelRef("simulator", name)));
      await waitFor(`the pause of ${name}`, async () => (await queue.getRateLimitTtl(1e9)) > 1000);
    }
    expect(await run.exit).toBe(0);
    expect(run.stderr()).toContain("429s 1");
    const queues = await site.run("queues", "--json");
    const states = JSON.parse(queues.stdout) as { bucket: string; used: { requests: number } }[];
    expect(states.map(({ bucket, used }) => [bucket, used.requests])).toEqual([
      ["shared", 21],
      ["shared", 21],
    ]);
    const refused = site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText === "refused");
    expect(refused.map(({ status }) => status)).toEqual([429, 200]);
    expect((refused[1]?.at ?? 0) - (refused[0]?.at ?? 0)).toBeGreaterThan(2400);
  });

  test("of its own kind, a 529 that names no time, holds up its job alone", async () => {
    await using site = await TestSite.open(
      { faults: { script: [{ match: "busy", times: 4, fault: "529" }] } },
      { GLUELLM_RETRY_MAX_ATTEMPTS: "1" },
    );
    site.write("in.jsonl", [{ custom_id: "busy", prompt: "busy" }, ...site.rows(30)]);
    expect((await site.run(...site.batch())).code).toBe(0);
    const answers = site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText === "busy");
    expect(answers.map(({ status }) => status)).toEqual([529, 529, 529, 529, 200]);
  });
});

describe("a provider that is down", () => {
  test("opens the breaker once, fails no row, and is used again as soon as it is back", {
    tags: "long",
  }, async () => {
    await using site = await TestSite.open(
      { rpm: 6000, tpm: 6_000_000 },
      { GLUELLM_RETRY_MAX_ATTEMPTS: "3", GLUELLM_CIRCUIT_BREAKER_COOLDOWN_MS: "300" },
    );
    const { redis, keys } = view(site);
    site.write("in.jsonl", site.rows(300));
    const run = site.start(...site.batch());
    await waitFor("60 rows", () => site.simulator.stats().accepted.requests > 60);
    site.simulator.setOutage({ forMs: 60_000, kind: "503" });
    await waitFor(
      "the breaker",
      async () => (await readBreakerState(plainStore(redis, keys), KEY)).state !== "closed",
    );
    const queues = await site.run("queues");
    expect(queues.stdout).toMatch(/open|half_open/);
    expect(queues.stdout).toMatch(/its circuit breaker: the provider failed \d+ of \d+ calls/);
    const before = site.simulator.journal.entries().length;
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(site.simulator.journal.entries().length - before, "one probe at a time").toBeLessThan(12);
    site.simulator.setOutage({ forMs: 0 });
    expect(await run.exit).toBe(0);
    expect(site.read("out.jsonl").every(({ error }) => error === null)).toBe(true);
    expect(await readBreakerState(plainStore(redis, keys), KEY)).toMatchObject({
      state: "closed",
      opened: 1,
    });
  });

  test("is called on where the breaker is switched off", { tags: "long" }, async () => {
    await using site = await TestSite.open({}, { ENABLE_CIRCUIT_BREAKER: "false" });
    const { redis, keys } = view(site);
    site.simulator.setOutage({ forMs: 600_000, kind: "503" });
    site.write("in.jsonl", site.rows(30));
    const { code } = await site.run(...site.batch());
    expect(code).not.toBe(0);
    expect(await redis.exists(keys.breaker(KEY))).toBe(0);
  });
});

test("interactive jobs overtake batch rows that fill the budget", { tags: "long" }, async () => {
  const limits = JSON.stringify({ [KEY]: { rpm: 600 } });
  await using site = await TestSite.open({ rpm: 600 }, { GLUELLM_LIMITS: limits });
  site.write("in.jsonl", site.rows(150));
  const run = site.start(...site.batch());
  await waitFor("rows", () => site.simulator.stats().accepted.requests > 20);
  const before = site.simulator.stats().accepted.requests;
  await siteClient(site).complete("urgent");
  const entries = site.simulator.journal.entries();
  const place = entries.findIndex(({ lastUserText }) => lastUserText === "urgent");
  // Ahead of it are the rows that the worker has taken already; 130 were waiting.
  expect(place - before).toBeLessThan(60);
  expect(await run.exit).toBe(0);
});
