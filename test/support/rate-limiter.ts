import type { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { RateLimiter } from "../../src/limits/rate-limiter.ts";
import type { Budget } from "../../src/shared/limits-setting.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { testNamespace, testRedis } from "./redis.ts";

export const KEY = "openai:model";

/** A limiter in a namespace of its own, closed with the test. */
export function openLimiter(
  budget: Budget | undefined,
  changes: { redis?: Redis; subscriber?: Redis; namespace?: string } = {},
) {
  const {
    namespace = testNamespace(),
    redis = testRedis({ connectionName: namespace }),
    subscriber,
  } = changes;
  const keyPrefix = redisKeys(namespace).prefix;
  const current = { budget };
  const site = {
    namespace,
    redis,
    // As much as buckets of a minute allow at once: the tests fill and empty those.
    limiter: new RateLimiter({
      redis,
      subscriber,
      keyPrefix,
      quantumMs: 300,
      budgetOf: () => current.budget,
    }),
    setBudget: (changed: Budget | undefined) => {
      current.budget = changed;
    },
    /** A field of the bucket in Redis. */
    stored: async (limit: "requests" | "tokens", field: string) =>
      Number(await redis.hget(`b_${keyPrefix}:limit:${KEY}:${limit}_settings`, field)),
    fill: async (limit: "requests" | "tokens", reservoir: number) =>
      redis.hset(`b_${keyPrefix}:limit:${KEY}:${limit}_settings`, { reservoir }),
  };
  onTestFinished(async () => {
    await site.limiter.close();
    redis.disconnect();
    subscriber?.disconnect();
  });
  return site;
}

/** Connections that carry the namespace's name. */
export async function connectionsOf({ redis, namespace }: { redis: Redis; namespace: string }) {
  const list = (await redis.client("LIST")) as string;
  return list.split("\n").filter((line) => line.includes(`name=${namespace} `)).length;
}
