import { afterAll, describe, expect, test } from "vitest";
import { readQueueStates } from "../../src/producers/queue-states.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { storeUnder } from "../../src/store/store.ts";
import { type OddSite, oddSite } from "../support/odd-provider.ts";
import { failureOf } from "../support/provider.ts";
import { testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());
const QUEUE = completionQueueName(modelRef("odd", "a"));

const limited = (seconds: number) => ({
  status: 429,
  body: { error: { message: "Rate limit reached" } },
  headers: { "retry-after": String(seconds) },
});

/** The pause of the site's account, as it stands in Redis. */
function pauseOf({ site }: OddSite) {
  const keys = redisKeys(site.namespace);
  const settings = loadSettings({ env: site.env, cwd: "/" });
  return {
    state: async () => {
      const [state] = await readQueueStates(storeUnder(redis, keys.prefix), settings, [QUEUE]);
      return state;
    },
    begun: () => waitFor("the pause", async () => (await redis.exists(keys.pause("odd:a"))) === 1),
    isKept: async () => (await redis.exists(keys.pause("odd:a"))) === 1,
    /** As if a minute had gone by. */
    letAMinutePass: async () => {
      await redis.hset(keys.pause("odd:a"), "testAt", 0);
      await redis.del(`${keys.prefix}:${QUEUE}:limiter`);
    },
  };
}

describe.concurrent("a pause of hours", () => {
  test("holds up the queue and fails no job; a call a minute tests it, and lifts it when it is answered", async () => {
    const isOver = { value: false };
    await using odd = await oddSite(() => (isOver.value ? "fine" : limited(3 * 3600)), {
      GLUELLM_WORKER_CONCURRENCY: "1",
    });
    const pause = pauseOf(odd);
    const handles = await Promise.all(["one", "two", "three"].map((prompt) => odd.glue.enqueue(prompt)));
    await pause.begun();
    expect(odd.calls).toHaveLength(1);
    const state = await pause.state();
    expect(state?.longPause?.until).toBeGreaterThan(Date.now() + 2.9 * 3_600_000);
    expect(state?.pausedMs, "until the next test").toBeLessThanOrEqual(60_000);
    expect(state?.waitsFor.join()).toMatch(/pause until 20.*Z \(rate_limit: .*resume odd:a lifts it/);

    await pause.letAMinutePass();
    await waitFor("the test", () => odd.calls.length === 2);
    await waitFor("the pause goes on", async () => Number((await pause.state())?.pausedMs) > 50_000);
    expect(odd.calls).toHaveLength(2);

    isOver.value = true;
    await pause.letAMinutePass();
    for (const handle of handles) expect((await handle.result()).finalResponse).toBe("fine");
    expect(await pause.isKept()).toBe(false);
  });

  test("ends by an operator's word", async () => {
    await using odd = await oddSite(({ ofAll }) => (ofAll === 1 ? limited(3600) : "fine"));
    const pause = pauseOf(odd);
    const handle = await odd.glue.enqueue("one");
    await pause.begun();
    expect((await odd.site.run("queues", "resume", "odd:none")).code).toBe(2);
    expect((await odd.site.run("queues", "resume", "odd:a")).stdout).toContain("resumed");
    expect((await handle.result()).finalResponse).toBe("fine");
  });

  test("fails a job at its deadline, and then says what it waited for", async () => {
    await using odd = await oddSite(({ ofAll }) => (ofAll === 1 ? "fine" : limited(3600)));
    const pause = pauseOf(odd);
    await odd.glue.complete("its worker is there");
    const deadlineMs = 5000;
    const handle = await odd.glue.enqueue("one", { deadlineMs });
    const until = Date.now() + deadlineMs;
    await pause.begun();
    await waitFor("its deadline", () => Date.now() > until);
    await pause.letAMinutePass();
    expect(await failureOf(handle.result())).toMatchObject({
      code: "deadline_exceeded",
      message: expect.stringMatching(/^the job's deadline passed: odd:a waits for its provider until 20/),
    });
    expect(odd.calls).toHaveLength(2);
  });

  test("stops a batch whose rows may not wait so long, all of them unsent", async () => {
    await using odd = await oddSite(({ ofAll }) => (ofAll === 3 ? limited(86_400) : "fine"), {
      GLUELLM_WORKER_CONCURRENCY: "1",
    });
    const prompts = Array.from({ length: 9 }, (_, n) => `good ${n}`);
    const report = await odd.batch(prompts);
    expect(report).toMatchObject({ status: "failed", failed: 0, error: { code: "paused" } });
    expect(report.succeeded).toBe(2);
    expect(report.error?.message).toContain("longer than its rows may wait");
    await pauseOf(odd).letAMinutePass();
    expect(await odd.batch(prompts)).toMatchObject({ status: "completed", succeeded: 9 });
    expect(odd.calls).toHaveLength(10);
  });
});
