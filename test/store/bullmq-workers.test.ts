import type { Job } from "bullmq";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { WORKFLOW_QUEUE } from "../../src/shared/catalog.ts";
import { setConcurrency } from "../../src/store/bullmq-internals.ts";
import { bullmqQueue } from "../support/bullmq.ts";
import { waitFor } from "../support/wait-for.ts";

/* What src/store/bullmq-internals.ts assumes of BullMQ's workers, held against the installed version. */

let queue: ReturnType<typeof bullmqQueue>["queue"];
let worker: ReturnType<typeof bullmqQueue>["worker"];

beforeEach(() => {
  ({ queue, worker } = bullmqQueue(WORKFLOW_QUEUE));
});

describe("a worker", () => {
  test("takes more jobs at once when its concurrency is raised, though none of its jobs ends", async () => {
    const calls = Promise.withResolvers<void>();
    onTestFinished(() => calls.resolve());
    let active = 0;
    const slow = async () => {
      active += 1;
      await calls.promise;
      active -= 1;
    };
    const busy = worker(slow, { concurrency: 2 });
    await queue.addBulk(Array.from({ length: 30 }, () => ({ name: "call", data: {} })));
    await waitFor("the first jobs", () => active === 2);
    setConcurrency(busy, 10);
    await waitFor("as many more", () => active === 10, 3000);
    setConcurrency(busy, 1);
    calls.resolve();
    await waitFor("the rest", async () => (await queue.getCompletedCount()) === 30);
    expect(active).toBe(0);
  });

  test("hands a signal that cancelJob aborts to processors that declare three parameters, and to no others", async () => {
    const signals: unknown[] = [];
    const two = async (...args: unknown[]) => void signals.push(args[2]);
    const first = worker(two);
    await queue.add("call", {}, { jobId: "first" });
    await waitFor("the first job", () => signals.length === 1);
    expect(signals[0]).toBeUndefined();
    await first.close();
    const three = (job: Job, _token?: string, signal?: AbortSignal) =>
      new Promise((resolve) => {
        signal?.addEventListener("abort", () => resolve(signals.push(signal.reason)));
        queueMicrotask(() => second.cancelJob(job.id ?? "", "enough"));
      });
    const second = worker(three);
    await queue.add("call", {}, { jobId: "second" });
    await waitFor("the second job", () => signals.length === 2);
    expect(signals[1]).toBe("enough");
  });
});
