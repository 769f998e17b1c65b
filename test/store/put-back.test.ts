import { expect, onTestFinished, test } from "vitest";
import { createLogger } from "../../src/shared/logger.ts";
import { type ActiveJob, JobLoop, RetryError } from "../../src/store/job-loop.ts";
import { againAfter, putBack } from "../../src/store/put-back.ts";
import { clockOf } from "../../src/store/redis-clock.ts";
import { bullmqQueue } from "../support/bullmq.ts";
import { waitFor } from "../support/wait-for.ts";

const LATER_MS = 3000;

/** A loop whose jobs end one way at first and are done the next time; `takenAt` is when each try began, by the clock of Redis. */
function loopOf(
  first: (active: ActiveJob, store: ReturnType<typeof bullmqQueue>["store"]) => Promise<never>,
) {
  const { queue, store } = bullmqQueue("calls");
  const takenAt: number[] = [];
  const loop = new JobLoop({
    ...{ store, queue: queue.name, lockMs: 30_000, concurrency: 1 },
    logger: createLogger({ level: "silent", json: true }),
    process: async (active) => {
      takenAt.push(await clockOf(store).fresh());
      return takenAt.length === 1 ? first(active, store) : "done";
    },
  });
  onTestFinished(() => loop.close(0));
  const isDelayed = async () => (await queue.getDelayedCount()) === 1;
  return { queue, store, takenAt, isDelayed };
}

/** As a worker does whose clock is ahead. */
async function takeEarly({ queue, isDelayed }: ReturnType<typeof loopOf>): Promise<void> {
  await waitFor("the delay", isDelayed);
  await (await queue.getJob("job"))?.promote();
}

const retried = async () => {
  throw new RetryError("once more", LATER_MS);
};

test.each<[string, Parameters<typeof loopOf>[0]]>([
  ["a retry", retried],
  [
    "what waits for a moment",
    (active, store) =>
      putBack(active, {
        delayMs: LATER_MS,
        againAt: againAfter(store, LATER_MS),
        reason: "its time",
        putBacks: 7,
      }),
  ],
])(
  "%s that a worker's clock lets begin too early goes back, each time, and loses nothing",
  async (_, first) => {
    const made = loopOf(first);
    const { queue, takenAt } = made;
    await queue.add("call", {}, { jobId: "job", attempts: 2, backoff: { type: "custom" } });
    await takeEarly(made);
    await takeEarly(made);
    const noted = (await queue.getJob("job"))?.progress;
    await waitFor("the end", async () => (await queue.getJobState("job")) === "completed");
    const [from = 0, to = 0] = takenAt;
    expect(takenAt).toHaveLength(2);
    expect(to - from).toBeGreaterThanOrEqual(LATER_MS - 200);
    // 1 for a retry: a try that was none does not count.
    expect((await queue.getJob("job"))?.attemptsMade).toBe(first === retried ? 2 : 1);
    expect(noted).toMatchObject(
      first === retried ? { againAt: expect.any(Number) } : { waitsFor: "its time", putBacks: 7 },
    );
  },
);

test("what waits for another worker is taken as soon as somebody calls it", async () => {
  const made = loopOf((active) => putBack(active, { delayMs: 600_000, reason: "a worker with the tool" }));
  await made.queue.add("call", {}, { jobId: "job" });
  await takeEarly(made);
  await waitFor("the end", async () => (await made.queue.getJobState("job")) === "completed");
});

test("a retry in a minute is taken at once when an operator calls it", async () => {
  const made = loopOf(async () => {
    throw new RetryError("once more", 60_000);
  });
  await made.queue.add("call", {}, { jobId: "job", attempts: 2, backoff: { type: "custom" } });
  await takeEarly(made);
  await waitFor("the end", async () => (await made.queue.getJobState("job")) === "completed");
});
