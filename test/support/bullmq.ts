import { type Job, type JobsOptions, Queue, Worker, type WorkerOptions } from "bullmq";
import { expect, onTestFinished } from "vitest";
import { type Store, storeOf } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "./redis.ts";

/** The lock of the jobs that a test takes by hand. */
export const TOKEN = "token";

/** A queue of one test's own, with BullMQ's own workers; all of it ends with the test. */
export function bullmqQueue(name: string) {
  const redis = testRedis();
  const store: Store = storeOf(redis, testNamespace());
  const queue = new Queue(name, { connection: redis, prefix: store.keys.prefix });
  onTestFinished(async () => {
    await queue.close();
    redis.disconnect();
  });

  /** Without a processor the worker takes jobs only when it is asked to. */
  function worker(
    processor: ((job: Job, token?: string, signal?: AbortSignal) => Promise<unknown>) | null = null,
    options: Partial<WorkerOptions> = {},
  ): Worker {
    const connection = redis.duplicate();
    const opened = new Worker(name, processor, { connection, prefix: store.keys.prefix, ...options });
    opened.on("error", () => {});
    onTestFinished(async () => {
      await opened.close(true);
      connection.disconnect();
    });
    return opened;
  }

  /** Adds a job and takes it, with the lock `TOKEN`. */
  async function activeJob(jobId: string, options: JobsOptions = {}): Promise<Job> {
    await queue.add("call", {}, { jobId, ...options });
    const job = await worker().getNextJob(TOKEN);
    expect(job?.id).toBe(jobId);
    return job as Job;
  }

  return { store, queue, worker, activeJob };
}
