import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { afterAll, beforeAll, onTestFinished } from "vitest";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import type { Faults } from "../../src/simulator/faults.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { testRedis } from "./redis.ts";
import { TestSite } from "./site.ts";

/** Opens a fleet of one worker process, for the tests of a file that need no other; returns a connection to Redis. */
export function workerFleet(faults: Faults, onOpen: (site: TestSite) => void): Redis {
  const redis = testRedis();
  let site: TestSite;
  beforeAll(async () => {
    site = await TestSite.open({ faults });
    site.start("worker");
    onOpen(site);
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
    redis.disconnect();
  });
  return redis;
}

/** Returns BullMQ's view of a model's queue, closed with the test. */
export function queueOf(redis: Redis, site: TestSite, model = "test"): Queue {
  const { prefix } = redisKeys(site.namespace);
  const queue = new Queue(completionQueueName(modelRef("simulator", model)), { connection: redis, prefix });
  onTestFinished(() => queue.close());
  return queue;
}
