import { afterAll, describe, expect, test } from "vitest";
import { readQueueStates } from "../../src/producers/queue-states.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName, ROUTE_QUEUE } from "../../src/shared/queue-name.ts";
import { plainStore } from "../../src/store/store.ts";
import { WorkerProcess } from "../../src/workers/worker-process.ts";
import { FIRST, type ModelPair, openPair, SECOND, statuses } from "../support/model-pair.ts";
import { testRedis, testStore } from "../support/redis.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());

/** Whether the job that waits in the pair's route queue says that it waits for this. */
async function waitsFor({ keys, settings }: ModelPair, reason: string): Promise<boolean> {
  const [state] = await readQueueStates(plainStore(redis, keys), settings, [ROUTE_QUEUE]);
  return state?.waitsFor.some((text) => text.includes(reason)) ?? false;
}

async function pausedMs({ keys }: ModelPair, queue: string): Promise<number> {
  return redis.pttl(`${keys.prefix}:${queue}:limiter`);
}

const queueOf = (key: string) => completionQueueName(modelRef(...(key.split(":") as [string, string])));

describe.concurrent("limits", () => {
  test("a short 429 is waited out, a long one sends the job on; the route queue goes on", async () => {
    await using pair = await openPair({
      first: {
        faults: {
          script: [
            { match: "short", times: 1, fault: "429", retryAfterMs: 300 },
            { match: "long", fault: "429", retryAfterMs: 60_000 },
          ],
        },
      },
    });
    const glue = pair.client();
    expect(await glue.complete("short")).toMatchObject({ model: FIRST, fallbacks: [] });
    const long = await glue.complete("long");
    expect(long).toMatchObject({ model: SECOND, fallbacks: [{ model: FIRST, code: "rate_limit" }] });
    expect(await pausedMs(pair, queueOf(FIRST))).toBeGreaterThan(30_000);
    expect(await pausedMs(pair, ROUTE_QUEUE)).toBeLessThan(2000);
    // The pause stands for the jobs that come, too: the first is not asked again.
    const calls = pair.first.journal.entries().length;
    expect(await glue.complete("later")).toMatchObject({
      model: SECOND,
      fallbacks: [{ model: FIRST, code: "budget_wait" }],
    });
    expect(pair.first.journal.entries()).toHaveLength(calls);
    const states = await readQueueStates(plainStore(redis, pair.keys), pair.settings);
    expect(states.map(({ key, workers, pausedMs }) => ({ key, workers, pausedMs }))).toEqual([
      { key: ROUTE_QUEUE, workers: 1, pausedMs: 0 },
    ]);
    expect(states[0]).toMatchObject({ limits: {}, bucket: undefined, waitsFor: [] });
  });

  test("a budget that is taken for long sends jobs on", { tags: "long" }, async () => {
    await using pair = await openPair({
      env: { GLUELLM_LIMITS: JSON.stringify({ [FIRST]: { rpm: 4 } }) },
    });
    const glue = pair.client();
    const answers = Array.from({ length: 8 }, (_, n) => glue.complete(`call ${n}`));
    void Promise.allSettled(answers);
    const { model, fallbacks } = await Promise.race(
      answers.map(async (answer) => {
        const result = await answer;
        return result.model === SECOND ? result : await new Promise<never>(() => {});
      }),
    );
    expect({ model, fallbacks }).toMatchObject({
      model: SECOND,
      fallbacks: [{ model: FIRST, code: "budget_wait" }],
    });
    // What the first has room for within seconds stays with it.
    expect(pair.first.journal.entries().length).toBeGreaterThan(0);
  });

  test("a 429 of one model pauses those of its bucket: the last of them waits, as a lone one does", async () => {
    const bucket = { rpm: 6000, bucket: "shared" };
    await using pair = await openPair({
      first: { faults: { script: [{ match: "hello", times: 1, fault: "429", retryAfterMs: 12_000 }] } },
      env: { GLUELLM_LIMITS: JSON.stringify({ [FIRST]: bucket, [SECOND]: bucket }) },
    });
    const glue = pair.client();
    // Its queue is known from then on.
    await glue.complete("alone", { model: SECOND });
    const handle = await glue.enqueue("hello");
    await waitFor("the wait for the second", () => waitsFor(pair, "budget_wait"));
    expect(await pausedMs(pair, queueOf(SECOND))).toBeGreaterThan(1000);
    expect(await pausedMs(pair, ROUTE_QUEUE)).toBeLessThan(2000);
    expect(statuses(pair.first)).toEqual([429]);
    expect(pair.second.journal.entries()).toHaveLength(1);
    await handle.cancel();
  });
});

describe.concurrent("an outage of both", () => {
  test("is waited out with the last, in a queue that goes on", { tags: "long" }, async () => {
    const down = { faults: { "500": 1 } };
    await using pair = await openPair({ first: down, second: down });
    const glue = pair.client();
    const handles = await Promise.all(
      Array.from({ length: 12 }, (_, n) => glue.enqueue(`call ${n}`, { maxAttempts: 1000 })),
    );
    await waitFor("the second one's breaker", () => waitsFor(pair, `circuit_open: ${SECOND}`));
    expect(await pausedMs(pair, ROUTE_QUEUE)).toBeLessThan(2000);
    pair.second.setFaults({});
    const results = await Promise.all(handles.map((handle) => handle.result()));
    expect(new Set(results.map(({ model }) => model))).toEqual(new Set([SECOND]));
  });
});

describe.concurrent("workers", () => {
  test("one killed after the first was given up: another goes on with the second", {
    tags: "long",
  }, async () => {
    await using pair = await openPair({
      first: { faults: { "401": 1 } },
      second: { latencyMs: 60_000 },
      env: SHORT_LOCKS,
    });
    const run = pair.site.start("worker");
    const handle = await pair.client({ mode: "fleet" }).enqueue("hello");
    await waitFor("the call of the second", () => pair.second.stats().inFlight === 1);
    run.child.kill("SIGKILL");
    await run.exit;
    pair.first.setFaults({});
    pair.second.setLatency({ latencyMs: 5 });
    pair.site.start("worker");
    expect(await handle.result()).toMatchObject({
      model: SECOND,
      fallbacks: [{ model: FIRST, code: "authentication" }],
    });
    expect(statuses(pair.first)).toEqual([401]);
  });

  test("one without the present model's entry puts the job back for one that has it", {
    tags: "long",
  }, async () => {
    await using pair = await openPair({ first: { faults: { "401": 1 } } });
    const { spare: _, ...providers } = pair.settings.providers;
    const poor = await WorkerProcess.start({
      store: testStore(pair.settings.namespace),
      settings: { ...pair.settings, providers },
      logger: createLogger({ level: "silent", json: true }),
    });
    const handle = await pair.client({ mode: "fleet" }).enqueue("hello");
    await waitFor("the reason", () => waitsFor(pair, 'a worker with provider entry "spare"'));
    await poor.close();
    pair.site.start("worker");
    expect(await handle.result()).toMatchObject({ model: SECOND });
    expect(statuses(pair.first)).toEqual([401]);
  });
});
