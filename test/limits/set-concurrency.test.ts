import { Queue, Worker } from "bullmq";
import { expect, test } from "vitest";
import { setConcurrency } from "../../src/limits/set-concurrency.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

test("a worker takes more jobs at once when its concurrency is raised, though none of its jobs ends", async () => {
  const options = { connection: testRedis(), prefix: `{${testNamespace()}}` };
  const queue = new Queue("slow", options);
  const calls = Promise.withResolvers<void>();
  let active = 0;
  const worker = new Worker(
    "slow",
    async () => {
      active += 1;
      await calls.promise;
      active -= 1;
    },
    { ...options, concurrency: 2 },
  );
  try {
    await queue.addBulk(Array.from({ length: 30 }, () => ({ name: "call", data: {} })));
    await waitFor("the first jobs", () => active === 2);
    setConcurrency(worker, 10);
    await waitFor("as many more", () => active === 10);
    setConcurrency(worker, 1);
    calls.resolve();
    await waitFor("the rest", async () => (await queue.getCompletedCount()) === 30);
    expect(active).toBe(0);
  } finally {
    calls.resolve();
    await worker.close();
    await queue.close();
    options.connection.disconnect();
  }
});
