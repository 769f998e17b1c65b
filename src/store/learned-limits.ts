import type { Redis } from "ioredis";
import { z } from "zod";
import type { StatedLimits } from "../shared/budget.ts";
import type { RedisKeys } from "./redis-keys.ts";

const limit = z.number().positive().optional();
const learnedSchema = z.object({
  rpm: limit,
  tpm: limit,
  itpm: limit,
  otpm: limit,
});

/** What the fleet has learned from the providers' answers: budget id → limits per minute. */
export async function readLearnedLimits(redis: Redis, keys: RedisKeys): Promise<Map<string, StatedLimits>> {
  const entries = Object.entries(await redis.hgetall(keys.learnedLimits));
  return new Map(entries.flatMap(([id, json]) => toEntry(id, json)));
}

export async function writeLearnedLimits(
  redis: Redis,
  keys: RedisKeys,
  id: string,
  limits: StatedLimits,
): Promise<void> {
  const write = redis.multi().hset(keys.learnedLimits, { [id]: JSON.stringify(limits) });
  await write.publish(keys.channel, `limits:${id}`).exec();
}

/** Another version's text is not a fault: the next answer teaches anew. */
function toEntry(id: string, json: string): [string, StatedLimits][] {
  try {
    return [[id, learnedSchema.parse(JSON.parse(json))]];
  } catch {
    return [];
  }
}
